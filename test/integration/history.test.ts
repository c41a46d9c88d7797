import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../src/output/log.ts';
import { connect, type Db } from '../../src/pg/connection.ts';
import { History } from '../../src/state/history.ts';
import { runDbops } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let db: Db;

beforeAll(async () => {
  database = await createDatabase('history');
  db = await connect({ url: database.url, connectTimeoutMs: 10_000, applicationName: 'test' });
});

afterAll(async () => {
  await db.close();
  await database.drop();
});

function history(args: string[] = []) {
  return runDbops(['history', ...args], { env: { DATABASE_URL: database.url } });
}

async function record(command: string, target: string | null, message: string | null) {
  const run = new History({ schema: 'dbops', command, target, version: '9', log: silentLog });
  await run.begin(db, { steps: 1 });
  await run.finish(db, message === null ? 'done' : 'failed', message, 3);
}

describe('dbops history', () => {
  it('says so when nothing was ever recorded, and creates nothing', async () => {
    const { code, stdout, stderr } = await history();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('nothing was recorded in database');
    expect(JSON.parse((await history(['--json'])).stdout)).toMatchObject({ data: { runs: [] } });
    const rows = await database.query("select from pg_namespace where nspname = 'dbops'");
    expect(rows).toHaveLength(0);
  });

  it('lists runs, newest first, by number and by command', async () => {
    await record('partition ensure', null, null);
    await record('partition detach', 'public.a\nforged line', 'the table "x"\nis busy');
    const { code, stdout } = await history();
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[1]).toContain('partition detach public.a\\x0aforged line');
    expect(lines[1]).toMatch(/failed +3 .* the table "x"$/);
    expect(lines[2]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ +partition ensure +done +3 /);
    const one = JSON.parse((await history(['--json', '--limit', '1'])).stdout) as {
      data: { runs: Record<string, unknown>[] };
    };
    expect(one.data.runs).toMatchObject([
      { command: 'partition detach', outcome: 'failed', plan: { steps: 1 } },
    ]);
    expect((await history(['--command', 'partition e'])).stdout).not.toContain('detach');
    expect((await history(['--command', 'backup'])).stdout).toBe('no such run is recorded\n');
  });

  it('refuses a limit that is none', async () => {
    const { code, stderr } = await history(['--limit', '0']);
    expect(code).toBe(2);
    expect(stderr).toContain('--limit is a whole number of at least 1, not "0"');
  });
});
