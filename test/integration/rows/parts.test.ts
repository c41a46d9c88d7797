// What partitions have of their own: foreign keys, rules and triggers that do not show at the table above them.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';
import { count, rows } from './setup.ts';

let db: TestDatabase;
let workspace: Workspace;

beforeAll(async () => {
  db = await createDatabase('rows_parts');
  workspace = createWorkspace(db, 'rows: {}\n');
});
afterAll(() => db.drop());

async function partitioned(name: string): Promise<void> {
  await db.query(`create table ${name} (id int primary key, note text) partition by range (id)`);
  await db.query(`create table ${name}_1 partition of ${name} for values from (0) to (101)`);
  await db.query(`create table ${name}_2 partition of ${name} default`);
  await db.query(`insert into ${name} select n from generate_series(1, 200) as n`);
  await db.query(`analyze ${name}`);
}

describe('a foreign key that points at a partition', () => {
  it('changes nothing without --cascade, and refuses when rows of that partition are pointed at', async () => {
    await partitioned('pointed');
    await db.query(
      'create table notes (at int constraint on_part references pointed_1 (id) on delete cascade)',
    );
    await db.query('insert into notes values (5), (6)');
    const purge = ['purge', 'public.pointed', '--where', 'true', '--yes'];
    const refused = await rows(workspace, ...purge);
    expect(refused.stderr).toContain(
      'foreign key on_part of public.notes at public.pointed_1 would change public.notes as well',
    );
    expect(refused.code).toBe(4);
    expect(await count(db, 'public.notes')).toBe(2);
    await db.query(
      'alter table notes drop constraint on_part, add constraint on_part foreign key (at) references pointed_1',
    );
    const pointed = await rows(workspace, ...purge);
    expect(pointed.stderr).toContain('rows that are to be taken out are pointed at by public.notes');
    expect(await count(db, 'public.pointed')).toBe(200);
    const others = await rows(workspace, 'purge', 'public.pointed', '--where', 'id > 100', '--yes');
    expect(others.code, others.stderr).toBe(0);
    expect(await count(db, 'public.pointed')).toBe(100);
  });
});

describe('a partition', () => {
  it('with a rule is refused, and its own trigger is told', async () => {
    await partitioned('ruled');
    await db.query("create function keep() returns trigger language plpgsql as 'begin return null; end'");
    await db.query('create trigger later after delete on ruled_2 for each row execute function keep()');
    const purge = ['purge', 'public.ruled', '--where', 'true'];
    const dry = await rows(workspace, ...purge, '--dry-run');
    expect(dry.stderr).toContain(
      'trigger later of public.ruled_2 fires after delete, for each row, and calls public.keep',
    );
    await db.query('create rule hold as on delete to ruled_2 do instead nothing');
    const refused = await rows(workspace, ...purge, '--yes');
    expect(refused.stderr).toContain('public.ruled_2: a rule rewrites DELETE on it');
    expect(refused.code).toBe(4);
    expect(await count(db, 'public.ruled')).toBe(200);
  });
});

describe('a trigger that keeps rows', () => {
  it('makes the job end with what is left', async () => {
    await partitioned('kept');
    await db.query(`create function odd() returns trigger language plpgsql
      as 'begin if old.id % 2 = 1 then return null; end if; return old; end'`);
    await db.query('create trigger odd before delete on kept_1 for each row execute function odd()');
    const result = await rows(workspace, 'purge', 'public.kept', '--where', 'true', '--yes', '--json');
    expect(result.code, result.stderr).toBe(5);
    expect(JSON.parse(result.stdout)).toMatchObject({
      data: { jobs: [{ rows: 150, left: 50 }] },
      warnings: [expect.stringContaining('or a trigger kept them')],
    });
    expect(await count(db, 'public.kept')).toBe(50);
  });
});

describe('the time zone of the configuration', () => {
  it('holds for commands typed by hand as well', async () => {
    await db.query('create table walls (id int primary key, at timestamp)');
    await db.query("insert into walls values (1, '2026-11-20 20:00'), (2, '2026-11-20 22:00')");
    const seoul = createWorkspace(db, 'defaults: { timezone: Asia/Seoul }\nrows: {}\n');
    // Noon in UTC is nine in the evening there.
    const result = await rows(seoul, 'purge', 'public.walls', '--older-than', 'at 1 day', '--yes');
    expect(result.code, result.stderr).toBe(0);
    expect(await db.query('select id from walls')).toEqual([{ id: 2 }]);
  });
});
