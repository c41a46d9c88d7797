import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byMonth, convert, createEvents, one } from '../support/convert.ts';
import { createDatabase, openSession, serverVersion, type TestDatabase } from '../support/database.ts';
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
});
