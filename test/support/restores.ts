// A server of its own with a database that has something of everything, its backups, and dbops run on them.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll } from 'vitest';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import {
  parseBackupManifest,
  writeBackupManifest,
  type BackupManifest,
  type LogicalPart,
} from '../../src/backup/manifest.ts';
import { findTools } from '../../src/process/tools.ts';
import { runProgram, type CliResult } from './cli.ts';
import { databaseUrl, ownDatabase, serverVersion, startPrivateServer, type Querier } from './database.ts';
import { createEveryType } from './every-type.ts';
import { createWorkspace, type Workspace } from './workspace.ts';

export interface RestoreSite {
  server: Server;
  work: Workspace;
  /** A database of the server. */
  on: (database: string) => Querier;
  /** Makes a backup of "shop" and returns its id. */
  backup: (...args: string[]) => Promise<string>;
  run: (args: string[], env?: Record<string, string>) => Promise<CliResult>;
  /** The same with --json, which must end with 0. */
  json: <Data>(args: string[]) => Promise<Data>;
  /** The folder of a backup in a store. */
  folder: (id: string, store?: string) => string;
  /** Names of the databases but those of every server. */
  databases: () => Promise<string[]>;
  /** What is in the work directory. */
  remains: () => string[];
}

/** Why nothing can be dumped here; undefined where it can. */
export async function whyNoDumps(): Promise<string | undefined> {
  const major = Math.floor(serverVersion() / 10_000);
  const tools = await findTools(['pg_dump', 'pg_restore', 'zstd'], process.env['PATH'] ?? '');
  const dumps = tools.some((tool) => tool.name === 'pg_dump' && tool.major === major);
  const restores = tools.some((tool) => tool.name === 'pg_restore' && (tool.major ?? 0) >= major);
  return dumps && restores ? undefined : `there is no pg_dump of PostgreSQL ${major} here`;
}

/** Starts a server with the database "shop", and two stores: near and far. */
export async function createRestoreSite(fill = fillShop): Promise<RestoreSite> {
  const server = await startPrivateServer({ synchronous_commit: 'off' });
  afterAll(() => server.stop({ immediate: true }));
  const on = (database: string) => ownDatabase({ url: databaseUrl(server.url, database) });
  await on('postgres').query('create database shop');
  await fill(on('shop'));
  const work = createWorkspace({ url: databaseUrl(server.url, 'shop') }, '');
  const stores = (store: string) => path.join(work.dir, store);
  fs.mkdirSync(stores('work'));
  work.configure(`
stores:
  near: { url: "file://${stores('near')}" }
  far: { url: "file://${stores('far')}" }
backup: { workDirectory: "${stores('work')}" }
`);
  const json = async <Data>(args: string[]) => {
    const { code, stdout, stderr } = await work.run([...args, '--json']);
    if (code !== 0) throw new Error(`dbops ${args.join(' ')} exits ${String(code)}: ${stderr}`);
    return (JSON.parse(stdout) as { data: Data }).data;
  };
  const places = new Map<string, string>();
  return {
    server,
    work,
    on,
    json,
    run: work.run,
    backup: async (...args) => {
      const { id, place } = await json<{ id: string; place: string }>(['backup', 'create', ...args]);
      places.set(id, place);
      return id;
    },
    folder: (id, store = 'near') => path.join(stores(store), places.get(id)!),
    databases: async () => {
      const rows = await on('postgres').query<{ name: string }>(
        "select datname as name from pg_database where datname !~ '^(postgres|template.)$' order by 1",
      );
      return rows.map((row) => row.name);
    },
    remains: () => fs.readdirSync(stores('work')),
  };
}

/** The manifest of a backup. */
export function manifestOf(site: RestoreSite, id: string, store = 'near'): BackupManifest {
  const file = path.join(site.folder(id, store), 'manifest.json');
  return parseBackupManifest(fs.readFileSync(file, 'utf8'), file);
}

/** Makes the manifest say something else in both stores, as if the backup came from another server. */
export function editManifest(
  site: RestoreSite,
  id: string,
  change: (manifest: BackupManifest, logical: LogicalPart) => void,
): void {
  for (const store of ['near', 'far']) {
    const manifest = manifestOf(site, id, store);
    change(manifest, manifest.logical!);
    fs.writeFileSync(path.join(site.folder(id, store), 'manifest.json'), writeBackupManifest(manifest));
  }
}

/** Everything that pg_dump tells of a database, without what is chance in it. */
export async function dumpOf(site: RestoreSite, database: string, ...args: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await runProgram(
    ['pg_dump', '-N', 'dbops', ...args, databaseUrl(site.server.url, database)],
    { timeoutMs: 60_000 },
  );
  if (code !== 0) throw new Error(stderr);
  return stdout.split('\n').filter((line) => !/^\\(un)?restrict/.test(line));
}

/** One of everything: every type, keys, identity, sequences, partitions, views, triggers, policies, large objects. */
export async function fillShop(db: Querier): Promise<void> {
  await createEveryType(db);
  await db.query(`
    create role shop_owner; create role shop_reader login password 'sesame'; grant shop_owner to shop_reader;
    create extension if not exists hstore schema public;
    create schema sales;
    create type sales.state as enum ('new', 'paid');
    create table sales.orders (id bigserial primary key, state sales.state not null default 'new', tags hstore,
      at timestamptz not null default now(), amount numeric(12, 2) check (amount >= 0), note text);
    insert into sales.orders (state, tags, at, amount, note)
      select 'paid', hstore('n', g::text), '2026-11-01'::timestamptz + g * interval '1 min', g / 3.0,
             case when g % 10 = 0 then null else E'line\\nof\\t' || g || E'\\\\.' end
        from generate_series(1, 3000) as g;
    create index orders_note on sales.orders (lower(note)) where state = 'paid';
    create table sales.items (id int generated always as identity primary key,
      order_id bigint not null references sales.orders on delete cascade, what text);
    insert into sales.items (order_id, what) select g, 'item ' || g from generate_series(1, 500) as g;
    create table sales.events (id int not null, at date not null, body text, primary key (id, at)) partition by range (at);
    create table sales.events_1 partition of sales.events for values from ('2026-01-01') to ('2026-02-01');
    create table sales.events_2 partition of sales.events for values from ('2026-02-01') to ('2026-03-01');
    insert into sales.events select g, date '2026-01-01' + g % 59, 'e' || g from generate_series(1, 400) as g;
    create index on sales.events (body);
    create view sales.paid as select * from sales.orders where state = 'paid';
    create materialized view sales.daily as select at::date as day, count(*) from sales.orders group by 1;
    create function sales.touch() returns trigger language plpgsql as 'begin new.note := trim(new.note); return new; end';
    create trigger touch before update on sales.orders for each row execute function sales.touch();
    create sequence sales.number start 100 increment 5; select nextval('sales.number'), nextval('sales.number');
    comment on table sales.orders is 'what was ordered'; comment on database shop is 'the ''shop''';
    alter table sales.orders owner to shop_owner; grant select on sales.orders to shop_reader;
    alter table sales.orders enable row level security;
    create policy mine on sales.orders for select to shop_reader using (id > 10);
    select lo_from_bytea(7001, 'large one'), lo_from_bytea(7002, decode(repeat('ab', 9000), 'hex'));
    alter database shop set work_mem = '7MB'; alter database shop set search_path = sales, "$user", public;
    alter role shop_reader in database shop set statement_timeout = '9s';
    grant connect on database shop to shop_reader; revoke temporary on database shop from public;
    alter database shop owner to shop_owner`);
}
