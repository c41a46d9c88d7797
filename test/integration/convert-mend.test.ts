import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byMonth, convert, createEvents, one } from '../support/convert.ts';
import {
  createDatabase,
  openSession,
  serverVersion,
  waitUntil,
  type TestDatabase,
} from '../support/database.ts';
import { folderWith } from '../support/ensure.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('convert_mend');
});

afterAll(() => db.drop());

/** Sends a dry run's script as psql would, in a session of its own that ends at the first error. */
async function runScript(script: string): Promise<void> {
  const client = await db.connect();
  for (const statement of statementsOf(script)) await client.query(statement);
}

function statementsOf(script: string): string[] {
  const lines = script.split('\n').filter((line) => !line.startsWith('\\') && !line.startsWith('--'));
  return lines
    .join('\n')
    .split(/;\n/)
    .filter((text) => text.trim() !== '');
}

describe('an undo', () => {
  it('does not drop a partition that appeared after it was planned', async () => {
    await createEvents(db, 'public.grown', 20);
    expect((await convert(db, ['grown', ...byMonth])).code).toBe(0);
    const script = await convert(db, ['grown', '--undo', '--dry-run']);
    expect(script.code).toBe(0);
    for (const text of [
      `create table public.late partition of public.grown for values from ('2095-01-01') to ('2096-01-01')`,
      `insert into public.grown (created_at) values ('2095-06-01')`,
    ])
      await db.query(text);
    await expect(runScript(script.stdout)).rejects.toThrow(
      'public.grown has other partitions than when the undo was planned',
    );
    expect(await one(db, 'select count(*)::int from public.late')).toBe(1);
    expect(await one(db, `select relkind::text from pg_class where oid = 'public.grown'::regclass`)).toBe(
      'p',
    );
  });

  it('does not drop rows in a branch below a planned partition', async () => {
    await createEvents(db, 'public.branched', 20);
    expect((await convert(db, ['branched', ...byMonth])).code).toBe(0);
    for (const text of [
      `create table public.branch partition of public.branched for values from ('2095-01-01') to ('2096-01-01') partition by range (created_at)`,
      `create table public.leaf partition of public.branch default`,
    ])
      await db.query(text);
    const script = await convert(db, ['branched', '--undo', '--dry-run']);
    expect(script.code).toBe(0);
    await db.query(`insert into public.branched (created_at) values ('2095-06-01')`);
    await expect(runScript(script.stdout)).rejects.toThrow('partition branch has rows now');
    expect(await one(db, 'select count(*)::int from public.leaf')).toBe(1);
  });

  it('leaves no index behind when ids came twice meanwhile, and changes nothing', async () => {
    await createEvents(db, 'public.twice', 20);
    expect((await convert(db, ['twice', ...byMonth])).code).toBe(0);
    await db.query(
      `insert into public.twice (id, created_at) overriding system value
       select id, created_at + interval '1 second' from public.twice order by id limit 1`,
    );
    const indexes = () =>
      one(db, `select count(*)::int from pg_index where indrelid = 'public.twice_legacy'::regclass`);
    const before = await indexes();
    const result = await convert(db, ['twice', '--undo', '--yes']);
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('duplicated');
    expect(await indexes()).toBe(before);
    expect(await one(db, `select relkind::text from pg_class where oid = 'public.twice'::regclass`)).toBe(
      'p',
    );
  });

  it('is refused to a role from which policies hide rows', async () => {
    await createEvents(db, 'public.hidden', 20);
    for (const text of [
      `do $$ begin create role convert_hidden login; exception when duplicate_object then null; end $$`,
      'grant create on schema public to convert_hidden',
      'create policy own on public.hidden using (tenant = 1)',
      'alter table public.hidden enable row level security, force row level security',
    ])
      await db.query(text);
    expect((await convert(db, ['hidden', ...byMonth])).code).toBe(0);
    await db.query(`insert into public.hidden (tenant, created_at) values (2, now() + interval '65 days')`);
    for (const { name } of await db.query<{ name: string }>(
      `select relid::text as name from pg_partition_tree('public.hidden')`,
    ))
      await db.query(`alter table ${name} owner to convert_hidden`);
    const url = new URL(db.url);
    url.username = 'convert_hidden';
    const undo = await convert({ url: url.href }, ['hidden', '--undo', '--check']);
    expect(undo.stdout).toContain('has row level security that hides rows from this role');
    expect(undo.code).toBe(6);

    await createEvents(db, 'public.hidden_too', 20);
    for (const text of [
      `insert into public.hidden_too (tenant, created_at) values (2, now() + interval '10 years')`,
      'create policy own on public.hidden_too using (tenant = 1)',
      'alter table public.hidden_too enable row level security, force row level security',
      'alter table public.hidden_too owner to convert_hidden',
    ])
      await db.query(text);
    const check = await convert({ url: url.href }, ['hidden_too', ...byMonth, '--check']);
    expect(check.stdout).toContain('has row level security that hides rows from this role');
    expect(check.code).toBe(6);
  });

  it('that fails in its swap keeps what it knows of foreign keys, and the next one adds them', async () => {
    await createEvents(db, 'public.pointed', 20);
    await db.query(
      'create table public.pointing (id int, event bigint constraint to_event references public.pointed (id))',
    );
    expect((await convert(db, ['pointed', ...byMonth, '--drop-incoming-foreign-keys'])).code).toBe(0);
    const keys = `select count(*)::int from pg_constraint where contype = 'f' and conname = 'to_event' and confrelid = 'public.pointed'::regclass`;
    const cwd = folderWith({ locking: { deadline: '1s' } });
    const writer = await openSession(db.url);
    await writer.begin();
    await writer.query('lock table public.pointing in row exclusive mode');
    const failed = await convert(db, ['pointed', '--undo'], { cwd });
    await writer.end();
    expect(failed.code).not.toBe(0);
    expect(await one(db, `select relkind::text from pg_class where oid = 'public.pointed'::regclass`)).toBe(
      'p',
    );
    expect(await one(db, `select obj_description('public.pointed_legacy'::regclass, 'pg_class')`)).toContain(
      'to_event',
    );
    expect((await convert(db, ['pointed', '--undo'])).code).toBe(0);
    expect(await one(db, keys)).toBe(1);
  });

  it.runIf(serverVersion() < 180_000)(
    'says when a foreign key of a partitioned table cannot come back, and goes on without it when told to',
    async () => {
      await createEvents(db, 'public.aimed', 20);
      await db.query(
        `create table public.parts (id int, event bigint constraint to_aimed references public.aimed (id)) partition by range (id)`,
      );
      await db.query('create table public.parts_1 partition of public.parts default');
      expect((await convert(db, ['aimed', ...byMonth, '--drop-incoming-foreign-keys'])).code).toBe(0);
      const refused = await convert(db, ['aimed', '--undo']);
      expect(refused.code).toBe(4);
      expect(refused.stderr).toContain('foreign key to_aimed of public.parts was dropped by the convert');
      const undone = await convert(db, ['aimed', '--undo', '--drop-incoming-foreign-keys']);
      expect(undone.code).toBe(0);
      expect(undone.stderr).toContain('alter table public.parts add constraint to_aimed FOREIGN KEY');
      expect(await one(db, `select relkind::text from pg_class where oid = 'public.aimed'::regclass`)).toBe(
        'r',
      );
    },
  );
});

describe('a convert', () => {
  it('is refused for a table that a subscription feeds', async () => {
    await createEvents(db, 'public.fed', 20);
    const name = `mend_${db.name}`;
    await db.query(
      `create subscription ${name} connection 'dbname=none' publication none with (connect = false, slot_name = none)`,
    );
    try {
      await db.query(
        `insert into pg_subscription_rel (srsubid, srrelid, srsubstate) select oid, 'public.fed'::regclass, 'r' from pg_subscription where subname = $1`,
        [name],
      );
      const check = await convert(db, ['fed', ...byMonth, '--check']);
      expect(check.stdout).toContain(`subscription ${name}`);
      expect(check.code).toBe(6);
    } finally {
      await db.query(`drop subscription ${name}`);
    }
  });

  it('carries a policy whose subquery names its own table', async () => {
    await createEvents(db, 'public.guarded', 20);
    await db.query('create table public.grants (tenant int)');
    await db.query(
      'create policy by_grant on public.guarded using (exists (select from public.grants as g where g.tenant = guarded.tenant))',
    );
    const done = await convert(db, ['guarded', ...byMonth]);
    expect(done.stderr).not.toContain('dbops:');
    expect(done.code).toBe(0);
    expect(await one(db, `select count(*)::int from pg_policy where polname = 'by_grant'`)).toBeGreaterThan(
      2,
    );
  });

  it('does not bound a table by a cutover that has come meanwhile', async () => {
    await createEvents(db, 'public.counted', 20);
    const byId = await convert(db, ['counted', '--key', 'id', '--interval', '100', '--dry-run']);
    await db.query(`select setval('public.counted_id_seq', 5000)`);
    await expect(runScript(byId.stdout)).rejects.toThrow('has come before the table was bounded by it');
    await createEvents(db, 'public.late_dated', 20);
    const args = ['late_dated', ...byMonth];
    const past = { env: { DBOPS_TEST_NOW: '2020-01-03T00:00:00Z' } };
    await db.query('truncate public.late_dated');
    const late = await convert(db, args, past);
    expect(late.stderr).toContain('later --cutover');
    expect(late.code).not.toBe(0);
    expect(await one(db, `select count(*)::int from pg_constraint where conname = 'dbops_cutover'`)).toBe(0);
  });

  it('locks the views before the table, so that traffic through them waits and fails neither', async () => {
    await createEvents(db, 'public.seen', 20);
    await db.query('create view public.seeing as select id, tenant from public.seen');
    const script = statementsOf((await convert(db, ['seen', ...byMonth, '--dry-run'])).stdout);
    const at = script.findIndex((text) => text.includes('in access exclusive mode'));
    expect(at).toBeGreaterThan(0);
    const swap = await openSession(db.url);
    const reader = await openSession(db.url);
    for (const text of script.slice(0, at + 1)) await swap.query(text);
    const reading = reader.query<{ rows: number }>('select count(*)::int as rows from public.seeing');
    await waitUntil(
      async () =>
        (await one<number>(db, `select count(*)::int from pg_locks where pid = $1 and not granted`, [
          reader.pid,
        ])) > 0,
      { what: 'the reader waits' },
    );
    for (const text of script.slice(at + 1)) await swap.query(text);
    expect(await reading).toEqual([{ rows: 20 }]);
    await swap.end();
    await reader.end();
  });

  it('leaves a whole-row view behind when told to', async () => {
    await createEvents(db, 'public.whole', 20);
    await db.query('create view public.whole_rows as select w from public.whole as w');
    const done = await convert(db, ['whole', ...byMonth, '--leave-behind', 'public.whole_rows']);
    expect(done.stderr).not.toContain('dbops:');
    expect(done.code).toBe(0);
    expect(await one(db, 'select count(*)::int from public.whole_rows')).toBe(20);
    expect(await one(db, `select pg_get_viewdef('public.whole_rows'::regclass)`)).toContain('whole_legacy');
  });

  it('notices that it was begun with another interval, time zone or legacy name', async () => {
    await createEvents(db, 'public.begun', 20);
    const cwd = folderWith({ locking: { deadline: '1s' } });
    await db.query('create table public.begun_dim (id int primary key)');
    await db.query('insert into public.begun_dim select generate_series(1, 9)');
    await db.query('alter table public.begun add foreign key (tenant) references public.begun_dim (id)');
    const holder = await openSession(db.url);
    await holder.begin();
    await holder.query('select count(*) from public.begun_dim');
    const cutover = '2090-02-01';
    expect(
      (await convert(db, ['begun', ...byMonth, '--cutover', cutover, '--premake', '0'], { cwd })).code,
    ).toBe(5);
    await holder.end();
    const byYear = await convert(db, ['begun', '--key', 'created_at', '--interval', 'year', '--check']);
    expect(byYear.stdout).toContain('was begun, where no period of this --interval');
    const inSeoul = await convert(db, ['begun', ...byMonth, '--timezone', 'Asia/Seoul', '--check']);
    expect(inSeoul.stdout).toContain('was begun, where no period of this --interval');
    const renamed = await convert(db, ['begun', ...byMonth, '--legacy-name', 'elsewhere', '--check']);
    expect(renamed.stdout).toContain('begun with another --legacy-name');
    expect((await convert(db, ['begun', ...byMonth])).code).toBe(0);
  });

  it('gives the sequence of an identity its comment, and no default privileges', async () => {
    await db.query(
      `do $$ begin create role convert_default; exception when duplicate_object then null; end $$`,
    );
    await createEvents(db, 'public.numbered', 20);
    await db.query(`comment on sequence public.numbered_id_seq is 'numbers'`);
    await db.query('alter default privileges grant usage on sequences to convert_default');
    const state = `select relacl::text, obj_description(oid, 'pg_class') as comment from pg_class where oid = 'public.numbered_id_seq'::regclass`;
    const allows = `select has_sequence_privilege('convert_default', 'public.numbered_id_seq', 'usage')`;
    try {
      for (const args of [byMonth, ['--undo']]) {
        expect((await convert(db, ['numbered', ...args])).code).toBe(0);
        expect((await db.query(state))[0]).toMatchObject({ comment: 'numbers' });
        expect(await one(db, allows)).toBe(false);
      }
    } finally {
      await db.query('alter default privileges revoke usage on sequences from convert_default');
    }
  });
});
