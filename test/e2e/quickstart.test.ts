// npm run quickstart, as somebody runs it who has just cloned the repository.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findSystemBinaries } from '../../scripts/lib/postgres-server.mjs';
import { hasTerminal, programInTerminal, runProgram, spawnProgram } from '../support/cli.ts';
import { waitUntil } from '../support/database.ts';

const projectRoot = path.resolve(import.meta.dirname, '..', '..');
const quickstart = ['npm', 'run', '--silent', 'quickstart'];
const TIMEOUT_MS = 110_000;

let temporary: string;
let place: { cwd: string; env: Record<string, string>; timeoutMs: number };

beforeEach(() => {
  // A temporary directory of its own shows what is left behind. The server of a root user has to be able to enter.
  temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'qs-'));
  fs.chmodSync(temporary, 0o755);
  const env = { TMPDIR: temporary, npm_config_update_notifier: 'false' };
  place = { cwd: projectRoot, env: { ...env, ...chosenServer() }, timeoutMs: TIMEOUT_MS };
});

afterEach(() => fs.rmSync(temporary, { recursive: true, force: true }));

describe('npm run quickstart', () => {
  it('shows a first night, changes what it says, and leaves nothing behind', async () => {
    const { code, stdout, stderr } = await runProgram(quickstart, place);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    for (const words of [
      '$ dbops partition plan',
      '\n74 partitions for 15 tables\n',
      /Meanwhile: [1-9]\d* writes to public\.judgment_executions, none failed, the longest took \d+ ms/,
      'nothing to create: 15 tables have what they need',
      '$ dbops partition detach --due',
      /public\.raw_mes_production_y\d{4}m\d\d +\d{8}T\d{6}Z-[0-9a-f]{8} +[1-9]\d* .* detached/,
      '$ dbops archive query',
      /have the same [1-9]\d* rows: [0-9a-f]{32}, by PostgreSQL itself/,
      hasDumps() ? /drill of backup \S+ \(logical\): passed/ : 'Backups need ',
      '$ dbops history',
      /detached +[1-9]\d*, in quarantine/,
      /created +74/,
      'the server is stopped and its directory removed',
    ]) {
      expect(stdout).toMatch(words);
    }
    // How many are past their retention depends on the day; what is made and what leaves must add up.
    const [, before, after] = (/partitions +(\d+) before, (\d+) now/.exec(stdout) ?? []).map(Number);
    const [, detached] = (/detached +(\d+),/.exec(stdout) ?? []).map(Number);
    expect(after).toBe((before ?? NaN) + 74 - (detached ?? NaN));
    expect(stdout).not.toContain('\u001b');
    await expectNothingLeft(urlIn(stdout));
  });

  it('leaves the server running with --keep, and says how to end it', async () => {
    const { code, stdout } = await runProgram([...quickstart, '--', '--keep'], place);
    expect(code).toBe(0);
    const url = urlIn(stdout);
    const end = /^To stop it and remove it: (.*)$/m.exec(stdout)?.[1] ?? 'false';
    try {
      const client = new pg.Client(url);
      await client.connect();
      const { rows } = await client.query('select count(*)::int as runs from dbops.run');
      await client.end();
      expect(rows).toEqual([{ runs: expect.any(Number) as number }]);
    } finally {
      expect((await runProgram(['sh', '-c', end])).code).toBe(0);
    }
    await expectNothingLeft(url);
  });

  it('cleans up when it is told to end', async () => {
    const running = spawnProgram([process.execPath, 'scripts/quickstart.mjs'], place);
    await running.waitFor(/partition plan/);
    running.kill('SIGTERM');
    const { code, signal } = await running.done;
    expect(code === 0).toBe(false);
    expect(signal).toBe('SIGTERM');
    await expectNothingLeft(urlIn(running.stdout()));
  });

  it('cleans up on Ctrl-C', async ({ skip }) => {
    skip(!hasTerminal(), 'needs script from util-linux');
    const answers = [{ when: /partition plan/, type: '\x03' }];
    const { code, output } = await programInTerminal(quickstart, { ...place, answers });
    expect(code).not.toBe(0);
    expect(output).not.toContain('What changed');
    await expectNothingLeft(urlIn(output));
  });

  it('refuses what it does not know', async () => {
    const { code, stderr } = await runProgram([...quickstart, '--', '--kep'], place);
    expect(code).toBe(2);
    expect(stderr).toContain('--keep');
  });
});

/** The servers of the matrix, where this run is on one of them. */
function chosenServer(): Record<string, string> {
  const binDir = process.env['DBOPS_TEST_PG_BIN'];
  return binDir === undefined ? {} : { DBOPS_TEST_PG_BIN: binDir };
}

/** Whether there is pg_dump beside the server that the quickstart takes. */
function hasDumps(): boolean {
  return fs.existsSync(path.join(findSystemBinaries()?.dir ?? '/nowhere', 'pg_dump'));
}

function urlIn(output: string): string {
  const url = /DATABASE_URL=(postgresql:\S+)/.exec(output)?.[1];
  expect(url, output).toBeDefined();
  return url!;
}

/** Neither a directory nor a server. */
async function expectNothingLeft(url: string): Promise<void> {
  await waitUntil(() => leftDirectories().length === 0, { what: `an empty ${temporary}` });
  await expect(new pg.Client(url).connect()).rejects.toThrow('ECONNREFUSED');
}

/** npm and Node keep small caches of their own there. */
function leftDirectories(): string[] {
  return fs.readdirSync(temporary).filter((name) => name.startsWith('dbops-'));
}
