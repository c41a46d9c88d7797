// One table, or one partition, out of every kind of backup that has rows: compared with the original by pg_dump and row by row.
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createRestoreSite,
  editManifest,
  fillShop,
  manifestOf,
  whyNoDumps,
  type RestoreSite,
} from '../../support/restores.ts';
import { runProgram } from '../../support/cli.ts';
import { databaseUrl, type Querier } from '../../support/database.ts';

const reason = await whyNoDumps();
let site: RestoreSite;
let shop: Querier;
/** Backups that hold sales.visits, by what they are. */
const backups: Record<string, string> = {};

/** Partitions in two levels, with one of everything that a table can have. */
async function fillVisits(db: Querier): Promise<void> {
  await fillShop(db);
  await db.query(`
    grant usage on schema sales to shop_owner; create domain sales.score as int check (value between 0 and 100);
    create table sales.visits (id bigserial, at date not null, state sales.state not null, score sales.score,
      order_id bigint references sales.orders, body text, twice int generated always as (score * 2) stored,
      constraint visits_pkey primary key (id, at), constraint "Body" check (length(body) < 900)) partition by range (at);
    create table sales.visits_1 partition of sales.visits for values from ('2026-01-01') to ('2026-02-01');
    create table sales.visits_2 partition of sales.visits for values from ('2026-02-01') to ('2026-03-01')
      partition by range (at);
    create table sales.visits_2_new partition of sales.visits_2 for values from ('2026-02-10') to ('2026-02-20');
    create table sales.visits_2_rest partition of sales.visits_2 default;
    insert into sales.visits (at, state, score, order_id, body)
      select date '2026-01-01' + g % 59, case when g % 3 = 0 then 'new' else 'paid' end::sales.state, g % 101, 1 + g % 3000,
             case when g % 7 = 0 then null else E'a\\tb\\n' || g || E'\\\\.' end
        from generate_series(1, 900) as g;
    create index visits_body on sales.visits (lower(body)) where score > 3;
    create index on sales.visits_1 (score);
    create statistics sales.visits_1_stats on id, score from sales.visits_1;
    comment on table sales.visits is 'who came'; comment on column sales.visits.score is 'how good';
    comment on index sales.visits_body is 'for search';
    grant select (id, at), insert on sales.visits to shop_reader; alter table sales.visits owner to shop_owner;
    alter table sales.visits enable row level security; alter table sales.visits force row level security;
    create policy good on sales.visits for select to shop_reader using (score > 50);
    create function sales.watch() returns trigger language plpgsql as 'begin return new; end';
    create trigger watch before insert on sales.visits for each row execute function sales.watch();
    create view sales.visitors as select id from sales.visits;
    create table sales."Odd ""name""" (id int primary key, "a b" text, parent int references sales."Odd ""name""");
    insert into sales."Odd ""name""" values (1, 'x', null), (2, E'COPY sales.orders (id) FROM stdin;', 1);
    create table sales.basis (id int); create table sales.derived (more text) inherits (sales.basis);
    insert into sales.derived values (1, 'd')`);
}

beforeAll(async () => {
  if (reason !== undefined) return;
  site = await createRestoreSite(fillVisits);
  shop = site.on('shop');
  backups['logical'] = await site.backup('--kind', 'logical');
  backups['stream'] = await site.backup('--kind', 'logical', '--stream');
  backups['table'] = await site.backup('--kind', 'table', '--table', 'sales.visits');
  backups['partition'] = await site.backup('--kind', 'partition', '--table', 'sales.visits_1');
});
beforeEach((context) => context.skip(reason !== undefined, reason));
afterEach(async () => {
  if (reason !== undefined) return;
  await shop.query('drop schema if exists checked cascade');
  // Neither a database nor a schema of ours is left, whatever happened.
  expect(await site.databases()).toEqual(['shop']);
  expect(await shop.query("select nspname from pg_namespace where nspname like 'dbops\\_%'")).toEqual([]);
  expect(site.remains()).toEqual([]);
});

interface Restored {
  into: string;
  partitions: string[];
  rows: number;
  next: string[];
}

async function restore(id: string, table: string, into: string, ...more: string[]): Promise<Restored> {
  const verb = more.includes('--partition') ? 'partition' : 'table';
  const rest = more.filter((arg) => arg !== '--partition');
  return await site.json(['restore', verb, id, '--table', table, '--into', into, '--yes', ...rest]);
}

/** What pg_dump says of some tables, rows and all, as if they were in the schema sales. */
async function said(...patterns: string[]): Promise<string[]> {
  const args = patterns.flatMap((pattern) => ['-t', pattern]);
  const { stdout, stderr, code } = await runProgram(
    ['pg_dump', ...args, databaseUrl(site.server.url, 'shop')],
    {
      timeoutMs: 60_000,
    },
  );
  if (code !== 0) throw new Error(stderr);
  return stdout
    .split('\n')
    .filter((line) => !/^\\(un)?restrict|^--/.test(line))
    .map((line) => line.replaceAll('checked.', 'sales.'))
    .sort();
}

describe.each(['logical', 'stream', 'table'])('from a backup of kind %s', (kind) => {
  it('a partitioned table comes back as it was, with all below it', async () => {
    const result = await restore(backups[kind]!, 'sales.visits', 'checked.visits');
    expect(result.rows).toBe(900);
    expect(result.partitions.sort()).toEqual([
      'checked.visits_1',
      'checked.visits_2',
      'checked.visits_2_new',
      'checked.visits_2_rest',
    ]);
    expect(await said('checked.visits*')).toEqual(await said('sales.visits*'));
    // Validated, and one of the whole table.
    expect(
      await shop.query(
        `select count(*)::int as keys, bool_and(convalidated) as valid from pg_constraint
          where contype = 'f' and conrelid::regclass::text like 'checked.visits%'`,
      ),
    ).toEqual([{ keys: 5, valid: true }]);
    const [next] = await shop.query<{ id: string }>("select nextval('checked.visits_id_seq')::text as id");
    expect(next?.id).toBe('901');
    expect(result.next.join('\n')).toContain(
      'insert into sales.visits (id, at, state, score, order_id, body) select',
    );
  });
});

it.each(['logical', 'stream'])(
  'the table with every type comes back from a backup of kind %s',
  async (kind) => {
    const { tables } = manifestOf(site, backups[kind]!).logical!;
    const every = tables.find((table) => table.schema === 'zoo')!;
    const result = await restore(backups[kind]!, `zoo.${every.name}`, `checked.${every.name}`);
    expect(result.rows).toBe(every.rows);
    const [difference] = await shop.query<{ count: number }>(
      `select count(*)::int from (select t::text from zoo.${every.name} as t except all select t::text from checked.${every.name} as t) as d`,
    );
    expect(difference?.count).toBe(0);
  },
);

it('in the same schema everything gets a name of its own, and the original is not touched', async () => {
  const before = await said('sales.visits*', 'sales.orders*');
  await restore(backups['logical']!, 'sales.visits', 'sales.came');
  try {
    const names = await shop.query<{ name: string }>(
      `select c.relname as name from pg_class as c where c.relnamespace = 'sales'::regnamespace and c.relname like 'came%' order by 1`,
    );
    expect(names.map((row) => row.name)).toEqual(
      expect.arrayContaining([
        'came',
        'came_2',
        'came_2_new',
        'came_2_rest',
        'came_1',
        'came_id_seq',
        'came_pkey',
      ]),
    );
    expect(await said('sales.visits*', 'sales.orders*')).toEqual(before);
    const [rows] = await shop.query('select count(*)::int, sum(twice)::int from sales.came');
    expect(rows).toEqual((await shop.query('select count(*)::int, sum(twice)::int from sales.visits'))[0]);
  } finally {
    await shop.query('drop table sales.came');
  }
});

it('a table that was dropped comes back under its own name, and what hung on it is named', async () => {
  const before = await said('sales.visits*');
  await shop.query('drop table sales.visits cascade; drop function sales.watch()');
  const { code, stdout, stderr } = await site.run([
    ...['restore', 'table', backups['table']!, '--table', 'sales.visits', '--into', 'sales.visits', '--yes'],
  ]);
  expect(code, stderr).toBe(0);
  expect(stdout).toContain('900 rows compared');
  expect(await said('sales.visits*')).toEqual(before);
  await shop.query('drop table sales.visits cascade');
  const whole = await site.run([
    ...[
      'restore',
      'table',
      backups['logical']!,
      '--table',
      'sales.visits',
      '--into',
      'sales.visits',
      '--yes',
    ],
  ]);
  expect(whole.code, whole.stderr).toBe(0);
  expect(whole.stderr).toContain('are not restored with it: view sales visitors');
  expect(await said('sales.visits*')).toEqual(before);
  await shop.query('create view sales.visitors as select id from sales.visits');
});

it.each(['logical', 'partition'])(
  'a partition from a backup of kind %s is attached again by what is printed',
  async (kind) => {
    const before = await said('sales.visits*');
    await shop.query('drop table sales.visits_1');
    const result = await restore(backups[kind]!, 'sales.visits_1', 'sales.visits_1', '--partition');
    const attach = result.next.at(-1)!;
    expect(attach).toBe(
      'dbops partition attach sales.visits_1 --to sales.visits --from 2026-01-01 --until 2026-02-01',
    );
    const { code, stderr } = await site.run([...attach.split(' ').slice(1), '--yes']);
    expect(code, stderr).toBe(0);
    expect(await said('sales.visits*')).toEqual(before);
  },
);

it('names that need quotes, a key to itself, rows that look like commands, a parent that it inherits from', async () => {
  await restore(backups['logical']!, 'sales.Odd "name"', 'checked.Odder & "name"/1');
  expect(
    await shop.query(
      `select pg_get_constraintdef(oid) as key, convalidated as valid from pg_constraint
        where contype = 'f' and connamespace = 'checked'::regnamespace`,
    ),
  ).toEqual([{ key: 'FOREIGN KEY (parent) REFERENCES checked."Odder & ""name""/1"(id)', valid: true }]);
  expect(await shop.query('select "a b" as text from checked."Odder & ""name""/1" order by id')).toEqual([
    { text: 'x' },
    { text: 'COPY sales.orders (id) FROM stdin;' },
  ]);
  await restore(backups['logical']!, 'sales.derived', 'checked.derived');
  expect(await shop.query('select id from sales.basis')).toHaveLength(1);
});

/** Restores the items beside themselves, and returns what is said of it. */
async function restoreItems(): Promise<string> {
  const into = ['--table', 'sales.items', '--into', 'checked.items', '--yes'];
  const { code, stderr } = await site.run(['restore', 'table', backups['logical']!, ...into]);
  expect(code, stderr).toBe(0);
  return stderr;
}

it('a foreign key is told of where its table is not here, or its rows are gone', async () => {
  await shop.query('alter table sales.orders rename to ordered');
  try {
    const stderr = await restoreItems();
    expect(stderr).toContain(
      'foreign key items_order_id_fkey of sales.items is left out: sales.orders is not here',
    );
  } finally {
    await shop.query('alter table sales.ordered rename to orders');
  }
  await shop.query(
    'drop table checked.items; begin; alter table sales.items disable trigger all; set local session_replication_role = replica; delete from sales.orders where id = 7; commit',
  );
  const stderr = await restoreItems();
  expect(stderr).toMatch(/foreign key items_order_id_fkey of sales\.items is not made, or not validated/);
  expect(await shop.query('select count(*)::int from checked.items')).toEqual([{ count: 500 }]);
});

describe('refuses, with nothing changed,', () => {
  const cases: [string, () => string[], number, RegExp][] = [
    [
      'without a yes',
      () => [backups['logical']!, '--table', 'sales.items', '--into', 'checked.a'],
      4,
      /needs a yes/,
    ],
    [
      'a target that is there',
      () => [backups['logical']!, '--table', 'sales.items', '--into', 'sales.orders', '--yes'],
      4,
      /sales\.orders is there already/,
    ],
    [
      'a table that the backup does not have',
      () => [backups['logical']!, '--table', 'sales.item', '--into', 'checked.a', '--yes'],
      2,
      /has no table sales\.item[^]*Is sales\.items meant\?/,
    ],
    [
      'a table where one partition was asked for',
      () => ['partition', backups['logical']!, '--table', 'sales.items', '--into', 'checked.a', '--yes'],
      2,
      /sales\.items is not a partition in backup/,
    ],
  ];
  it.each(cases)('%s', async (_, args, exit, message) => {
    const [first = '', ...rest] = args();
    const words = first === 'partition' ? [first, ...rest] : ['table', first, ...rest];
    const { code, stderr } = await site.run(['restore', ...words]);
    expect(stderr).toMatch(message);
    expect(code).toBe(exit);
    expect(await shop.query("select to_regclass('checked.a')::text as found")).toEqual([{ found: null }]);
  });

  it('a backup without rows, and one of a cluster, naming the commands that do it', async () => {
    const schema = await site.backup('--kind', 'schema');
    const none = await site.run([
      'restore',
      'table',
      schema,
      '--table',
      'sales.items',
      '--into',
      'checked.a',
      '--yes',
    ]);
    expect(none.stderr).toMatch(/is of kind "schema" and holds no rows/);
    expect(none.code).toBe(4);
    editManifest(site, schema, (manifest) => Object.assign(manifest, { kind: 'base', logical: null }));
    const base = await site.run([
      'restore',
      'table',
      schema,
      '--table',
      'sales.items',
      '--into',
      'checked.a',
      '--yes',
    ]);
    expect(base.code).toBe(4);
    expect(base.stderr).toContain(`dbops restore pitr ${schema} --to immediate --data-dir`);
    expect(base.stderr).toContain('--table sales.items --into checked.a');
  });

  it('rows that were left out of the backup, of a partition too', async () => {
    const id = await site.backup('--kind', 'logical', '--exclude-data', 'sales.visits_1');
    const { code, stderr } = await site.run([
      'restore',
      'table',
      id,
      '--table',
      'sales.visits',
      '--into',
      'checked.a',
      '--yes',
    ]);
    expect(stderr).toContain('the rows of sales.visits_1 were left out of backup');
    expect(code).toBe(4);
  });

  it('a type that is different here', async () => {
    await shop.query("alter type sales.state add value 'late'");
    const id = backups['logical']!;
    const { code, stderr } = await site.run([
      'restore',
      'table',
      id,
      '--table',
      'sales.visits',
      '--into',
      'checked.a',
      '--yes',
    ]);
    expect(stderr).toContain('type sales.state is there already, with another definition');
    expect(code).toBe(4);
    await shop.query(`delete from pg_enum where enumlabel = 'late' and enumtypid = 'sales.state'::regtype`);
  });
});

it('leaves a missing role to who decides on it', async () => {
  await shop.query(
    'create role passing; create table sales.passed (id int); grant select on sales.passed to passing',
  );
  const id = await site.backup('--kind', 'table', '--table', 'sales.passed');
  await shop.query('drop table sales.passed; drop role passing');
  const args = ['restore', 'table', id, '--table', 'sales.passed', '--into', 'checked.passed', '--yes'];
  const refused = await site.run(args);
  expect(refused.stderr).toContain('role "passing" does not exist');
  expect(refused.code).toBe(4);
  const partial = await site.run([...args, '--partial']);
  expect(partial.stderr).toContain('checked.passed was restored, but not all of it');
  expect(partial.code).toBe(5);
  expect(await shop.query('select count(*)::int from checked.passed')).toEqual([{ count: 0 }]);
});

it('takes the good copy where one is damaged, and changes nothing where none is good', async () => {
  const id = await site.backup('--kind', 'table', '--table', 'sales.items');
  const file = manifestOf(site, id).files.find(({ name }) => /\d+\.dat\.zst$/.test(name))!.name;
  const damage = (store: string) => {
    const at = path.join(site.folder(id, store), file);
    const bytes = fs.readFileSync(at);
    bytes[bytes.length >> 1]! ^= 4;
    fs.writeFileSync(at, bytes);
  };
  damage('near');
  const { rows } = await restore(id, 'sales.items', 'checked.items');
  expect(rows).toBe(500);
  damage('far');
  const { code, stderr } = await site.run([
    'restore',
    'table',
    id,
    '--table',
    'sales.items',
    '--into',
    'checked.b',
    '--yes',
  ]);
  expect(code).toBe(7);
  expect(stderr).toContain(path.basename(file));
  expect(await shop.query("select to_regclass('checked.b')::text as found")).toEqual([{ found: null }]);
});

it('finds rows that are not those of the backup, and leaves nothing of them', async () => {
  const id = await site.backup('--kind', 'table', '--table', 'sales.items');
  editManifest(site, id, (_, logical) => {
    logical.tables.find((table) => table.name === 'items')!.rows! += 1;
  });
  const { code, stderr } = await site.run([
    'restore',
    'table',
    id,
    '--table',
    'sales.items',
    '--into',
    'checked.b',
    '--yes',
  ]);
  expect(stderr).toContain('checked.b has 500 rows, and the backup has 501');
  expect(code).toBe(7);
  expect(await shop.query("select to_regclass('checked.b')::text as found")).toEqual([{ found: null }]);
});

it('prints what it would do, and does nothing', async () => {
  const { code, stdout } = await site.run([
    ...[
      'restore',
      'table',
      backups['logical']!,
      '--table',
      'sales.items',
      '--into',
      'checked.items',
      '--dry-run',
    ],
  ]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^create database dbops_scratch_[0-9a-f]{12} template template0;/m);
  expect(stdout).toMatch(/^alter table dbops_restoring_[0-9a-f]{12}\.items set schema checked;/m);
  expect(await shop.query("select to_regclass('checked.items')::text as found")).toEqual([{ found: null }]);
});
