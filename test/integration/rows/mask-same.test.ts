// Which rows a mask takes for masked already, and what a constraint does in the middle of a job.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';
import { count, rows } from './setup.ts';

let db: TestDatabase;
let workspace: Workspace;

beforeAll(async () => {
  db = await createDatabase('rows_mask_same');
  workspace = createWorkspace(db, 'rows: {}\n');
});
afterAll(() => db.drop());

async function masked(table: string, ...set: string[]): Promise<number> {
  const flags = set.flatMap((text) => ['--set', text]);
  const result = await rows(workspace, 'mask', table, ...flags, '--where', 'true', '--yes', '--json');
  expect(result.code, result.stderr).toBe(0);
  return (JSON.parse(result.stdout) as { data: { jobs: { rows: number }[] } }).data.jobs[0]!.rows;
}

it('masks what a collation calls equal and is not the same', async () => {
  const [icu] = await db.query("select from pg_collation where collname = 'und-x-icu'");
  if (icu === undefined) return;
  await db.query(
    "create collation blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
  );
  await db.query('create table names (id int primary key, name text collate blind)');
  await db.query("insert into names values (1, 'Masked'), (2, 'masked'), (3, 'x')");
  expect(await masked('names', "name='masked'")).toBe(2);
  expect(await count(db, 'public.names', `name collate "C" = 'masked'`)).toBe(3);
});

it('leaves rows alone that have the value as the column holds it', async () => {
  await db.query('create table amounts (id int primary key, amount numeric(6,1), code varchar(20), n text)');
  await db.query("insert into amounts select i, i, 'c' || i, i from generate_series(1, 50) as i");
  const set = ['amount=id / 3.0', 'code=md5(id::text)::varchar(20)', 'n=id'];
  expect(await masked('amounts', ...set)).toBe(50);
  expect(await masked('amounts', ...set)).toBe(0);
});

it('says what to do when a constraint forbids a row', async () => {
  await db.query('create table origin (id int primary key)');
  await db.query('create table goal (id int primary key)');
  await db.query('insert into origin select i from generate_series(1, 100) as i');
  await db.query('insert into goal values (50)');
  const args = ['move', 'origin', '--where', 'true', '--to', 'goal', '--yes', '--name', 'meet'];
  const result = await rows(workspace, ...args);
  expect(result.stderr).toContain('the job "meet" (move public.origin to public.goal) met a row');
  expect(result.stderr).toContain('dbops rows cancel meet');
  expect(result.code).toBe(4);
  expect(await count(db, 'public.origin')).toBe(100);
});

it('takes no name of a built-in property for a unit of time', async () => {
  const result = await rows(workspace, 'purge', 'origin', '--older-than', 'id 7 constructor', '--yes');
  expect(result.code).toBe(2);
  expect(result.stderr).toContain('--older-than is a column and an age');
});
