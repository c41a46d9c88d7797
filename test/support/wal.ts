// The archive of WAL around a private server, without the command line: jobs as commands would start them.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { WalSettings } from '../../src/config/backup.ts';
import { registerCluster } from '../../src/backup/wal/cluster.ts';
import type { WalContext } from '../../src/backup/wal/context.ts';
import { findDataDirectory } from '../../src/backup/wal/data-directory.ts';
import { FileStore } from '../../src/storage/file.ts';
import type { Store } from '../../src/storage/store.ts';
import type { Log } from '../../src/output/log.ts';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import { afterFile } from './cleanup.ts';
import { ownDatabase } from './database.ts';

/** Keeps .ready files: every push is made by the test. */
export const archivesNothing = { archive_mode: 'on', archive_command: 'exit 1', full_page_writes: 'on' };

/** A directory that is removed after the tests of the file; everybody may write to it, the server's own user too. */
export function sharedDirectory(name: string): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `dbops-${name}-`));
  fs.chmodSync(dir, 0o777);
  afterFile(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export interface WalTest extends WalContext {
  stores: Store[];
  /** What was logged, as "event: message". */
  lines: string[];
}

/** A context with these stores; directories become stores of that name. */
export function walContext(stores: (Store | string)[], settings: Partial<WalSettings> = {}): WalTest {
  const opened = stores.map((store) =>
    typeof store === 'string' ? new FileStore(path.basename(store), store) : store,
  );
  const lines: string[] = [];
  const say = (fields: { event: string }, message: string) => void lines.push(`${fields.event}: ${message}`);
  const log: Log = { debug: () => undefined, info: say, warn: say, error: say };
  return {
    stores: opened,
    lines,
    log,
    settings: {
      copies: opened.map((store) => store.name),
      required: opened.length,
      spool: path.join(sharedDirectory('spool'), 'spool'),
      jobs: 2,
      ahead: 64,
      compressionLevel: 1,
      ...settings,
    },
    openStore: (name) => Promise.resolve(opened.find((store) => store.name === name)!),
    signal: new AbortController().signal,
    host: 'test',
    version: '0.0.0',
  };
}

/** Says in the stores that WAL of this server belongs there. Returns its identifier. */
export async function register(server: Pick<Server, 'dataDir'>, stores: Store[]): Promise<string> {
  const { systemIdentifier } = await findDataDirectory(server.dataDir);
  for (const store of stores) {
    await registerCluster(store, {
      systemIdentifier,
      walSegmentBytes: 16 * 1024 ** 2,
      registeredAt: new Date(0).toISOString(),
      host: 'test',
      dbops: '0.0.0',
    });
  }
  return systemIdentifier;
}

/** Fills and closes so many segments; returns their names. */
export async function closeSegments(server: Pick<Server, 'url'>, count: number): Promise<string[]> {
  const { query } = ownDatabase(server);
  const names: string[] = [];
  for (let made = 0; made < count; made += 1) {
    const [row] = await query<{ name: string }>(
      `select pg_walfile_name(pg_logical_emit_message(true, 'test', 'x')) as name`,
    );
    names.push(row!.name);
    await query('select pg_switch_wal()');
  }
  return names;
}
