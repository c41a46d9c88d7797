// What would lose rows on their way to another table.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';
import { count, now, outbox, rows } from './setup.ts';

let db: TestDatabase;
let workspace: Workspace;

beforeAll(async () => {
  db = await createDatabase('rows_move_safe');
  workspace = createWorkspace(db, 'rows: {}\n');
  await outbox(db, 300, 'source');
  await db.query("create function nothing() returns trigger language plpgsql as 'begin return null; end'");
});
afterAll(() => db.drop());

async function refused(to: string, ...texts: string[]): Promise<void> {
  const result = await rows(workspace, 'move', 'public.source', '--where', 'true', '--to', to, '--yes');
  for (const text of texts) expect(result.stderr).toContain(text);
  expect(result.code).toBe(4);
  expect(await count(db, 'public.source')).toBe(300);
}

describe('a move is refused', () => {
  it('when a partition of the target has a trigger that keeps rows out', async () => {
    await db.query('create table filtered (like source) partition by range (id)');
    await db.query('create table filtered_1 partition of filtered for values from (0) to (100)');
    await db.query('create table filtered_2 partition of filtered default');
    await db.query('create trigger keep before insert on filtered_2 for each row execute function nothing()');
    await refused('filtered', 'public.filtered_2: trigger keep decides which rows may enter');
  });

  it('to a table that a crash empties', async () => {
    await db.query('create unlogged table fleeting (like source)');
    await refused('fleeting', 'public.fleeting is unlogged: a crash of the server empties it', 'SET LOGGED');
    await db.query('create table mixed (like source) partition by range (id)');
    await db.query('create unlogged table mixed_1 partition of mixed default');
    await refused('mixed', 'public.mixed_1 is unlogged');
    await db.query('create unlogged table also_fleeting (like source)');
    await db.query('insert into also_fleeting select * from source');
    const args = ['move', 'public.also_fleeting', '--where', 'true', '--to', 'fleeting', '--yes'];
    expect((await rows(workspace, ...args)).code).toBe(0);
    expect(await count(db, 'public.fleeting')).toBe(300);
  });

  it('to a table that makes a value anew', async () => {
    await db.query(`create table made (id bigint, status text generated always as ('X') stored, payload jsonb,
      created_at timestamptz, published_at timestamptz)`);
    await refused('made', 'status is generated there, so the value of here would be lost');
  });

  it('to another part of the same partitioned table', async () => {
    await db.query('create table whole (id int) partition by range (id)');
    await db.query('create table whole_1 partition of whole for values from (0) to (100)');
    await db.query('create table whole_2 partition of whole default');
    await db.query('insert into whole values (1)');
    for (const to of ['whole', 'whole_2']) {
      const result = await rows(workspace, 'move', 'whole_1', '--where', 'true', '--to', to, '--yes');
      expect(result.stderr).toContain(`public.${to} and public.whole_1 are parts of one table`);
      expect(result.code).toBe(4);
    }
  });
});

describe('a trigger that comes while a move runs', () => {
  it('ends it with the batch rolled back, and every row in one of the tables', async () => {
    await outbox(db, 5000, 'running');
    await db.query('create table run_to (like running)');
    const args = ['rows', 'move', 'public.running', '--where', 'true', '--to', 'run_to', '--yes', '-v'];
    const running = workspace.spawn([...args, '--batch-size', '50', '--gentle'], { DBOPS_TEST_NOW: now });
    await running.waitFor(/(?:rows in \d+ ms[^]*?){2}/);
    await db.query('create trigger keep before insert on run_to for each row execute function nothing()');
    const { code, stderr } = await running.done;
    expect(stderr).toMatch(/public\.run_to took 0 of \d+ rows, so the batch was rolled back/);
    expect(code).toBe(5);
    const moved = await count(db, 'public.run_to');
    expect(moved).toBeGreaterThan(0);
    expect((await count(db, 'public.running')) + moved).toBe(5000);
  });
});
