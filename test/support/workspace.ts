// A directory with a dbops.yaml, and dbops run in it against one database.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterFile } from './cleanup.ts';
import { runDbops, spawnDbops, type CliResult, type RunningCli } from './cli.ts';
import type { TestDatabase } from './database.ts';

export interface Workspace {
  dir: string;
  /** Replaces the configuration, and makes the directories of its file:// stores, which dbops leaves to the operator. */
  configure: (yaml: string) => void;
  /** Runs "dbops ..." with DATABASE_URL set. */
  run: (args: string[], env?: Record<string, string>) => Promise<CliResult>;
  /** Starts it and leaves it running. */
  spawn: (args: string[], env?: Record<string, string>) => RunningCli;
}

/** Makes a workspace; it is removed after the tests of the file. */
export function createWorkspace(database: Pick<TestDatabase, 'url'>, yaml: string): Workspace {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-workspace-'));
  afterFile(() => fs.rmSync(dir, { recursive: true, force: true }));
  const configure = (text: string) => {
    fs.writeFileSync(path.join(dir, 'dbops.yaml'), text);
    for (const [, store = ''] of text.matchAll(/\burl: "file:\/\/(\/[^"]+)"/g)) {
      if (!fs.existsSync(store)) fs.mkdirSync(store, { recursive: true });
    }
  };
  configure(yaml);
  const environment = (env: Record<string, string> = {}) => ({ DATABASE_URL: database.url, ...env });
  return {
    dir,
    configure,
    run: (args, env) => runDbops(args, { cwd: dir, env: environment(env) }),
    spawn: (args, env) => spawnDbops(args, { cwd: dir, env: environment(env) }),
  };
}
