// What the tests of `partition ensure` share: a configuration, a run at a fixed time, and what the catalog says.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import { runDbops, type CliResult } from './cli.ts';
import type { Querier, TestDatabase } from './database.ts';

/** A Saturday, in the fourth quarter and the 47th ISO week. */
export const testNow = '2026-11-21T12:00:00Z';

export interface TableEntry {
  table: string;
  key: string;
  interval: string | number;
  [key: string]: unknown;
}

const folders: string[] = [];

afterAll(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

/** A folder with a dbops.yaml; JSON is YAML too, so no name needs quoting by hand. */
export function folderWith(settings: Record<string, unknown>): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-ensure-'));
  folders.push(folder);
  fs.writeFileSync(path.join(folder, 'dbops.yaml'), JSON.stringify(settings, null, 2));
  return folder;
}

export interface EnsureRun {
  args?: string[];
  now?: string;
  /** Further settings of the file, such as `locking`. */
  settings?: Record<string, unknown>;
  env?: Record<string, string>;
}

/** Where and with which environment dbops must run to see these tables of this database. */
export function invocation(
  url: string,
  tables: TableEntry[],
  { now = testNow, settings = {}, env = {} }: EnsureRun = {},
): { cwd: string; env: Record<string, string> } {
  return {
    cwd: folderWith({ ...settings, partitions: tables }),
    env: { DATABASE_URL: url, DBOPS_TEST_NOW: now, ...env },
  };
}

/** Runs `partition ensure` with these tables configured. */
export async function runEnsure(
  db: Pick<TestDatabase, 'url'>,
  tables: TableEntry[],
  run: EnsureRun = {},
): Promise<CliResult> {
  return runDbops(['partition', 'ensure', ...(run.args ?? [])], invocation(db.url, tables, run));
}

/** The partitions of a table as [name, bound], in the order of their bounds' text, in UTC. */
export async function boundsOf(db: Querier, table: string): Promise<[string, string][]> {
  const rows = await db.query<{ name: string; bound: string }>(
    `select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bound
       from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
      where i.inhparent = $1::regclass`,
    [table],
  );
  return (
    rows
      // int4 bounds are printed without quotes, int8 ones with them.
      .map(({ name, bound }): [string, string] => [
        name,
        bound.replace('FOR VALUES ', '').replaceAll(/\((-?\d+)\)/g, "('$1')"),
      ])
      .sort((a, b) => (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0))
  );
}

/** "FROM ('a') TO ('b')" for each two neighbours. */
export function ranges(...ends: (string | number)[]): string[] {
  const quote = (end: string | number) => `'${String(end)}'`;
  return ends.slice(1).map((to, index) => `FROM (${quote(ends[index]!)}) TO (${quote(to)})`);
}

/**
 * All that a person could see of the database with \d+, \dn, \ddp and \d of every relation: a row of text for each
 * fact, without oids, so that two databases can be compared. Schemas of dbops itself are left out when told so.
 */
export async function catalogOf(db: Querier, { withoutState = false } = {}): Promise<string[]> {
  const rows = await db.query<{ fact: string }>(
    `with c as (
       select c.*, n.nspname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast'
          and ($1 = false or n.nspname <> 'dbops'))
     select 'schema ' || quote_ident(n.nspname) || ' ' || coalesce(n.nspacl::text, '') as fact
       from pg_namespace as n where n.nspname !~ '^pg_' and ($1 = false or n.nspname <> 'dbops')
     union all
     select concat_ws(' | ', 'relation', c.oid::regclass, c.relkind, pg_get_userbyid(c.relowner), c.relpersistence,
              c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, c.relispartition,
              (select array_agg(x order by x::text) from unnest(c.relacl) as x)::text,
              coalesce(pg_get_expr(c.relpartbound, c.oid), ''), obj_description(c.oid, 'pg_class'),
              (select string_agg(i.inhparent::regclass::text, ',') from pg_inherits as i where i.inhrelid = c.oid),
              (select spcname from pg_tablespace as t where t.oid = c.reltablespace),
              (select amname from pg_am as m where m.oid = c.relam)) from c
     union all
     select concat_ws(' | ', 'column', a.attrelid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
              a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, a.attcompression, a.attstattarget, a.attacl,
              pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum))
       from pg_attribute as a join c on c.oid = a.attrelid and c.relkind in ('r', 'p')
       left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attnum > 0 and not a.attisdropped
     union all
     select concat_ws(' | ', 'constraint', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), k.convalidated,
              k.conparentid <> 0, obj_description(k.oid, 'pg_constraint'))
       from pg_constraint as k join c on c.oid = k.conrelid
     union all
     select concat_ws(' | ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisreplident)
       from pg_index as i join c on c.oid = i.indrelid
     union all
     select concat_ws(' | ', 'policy', p.polrelid::regclass, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[],
              pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
       from pg_policy as p
     union all
     select concat_ws(' | ', 'trigger', t.tgrelid::regclass, pg_get_triggerdef(t.oid), t.tgenabled)
       from pg_trigger as t join c on c.oid = t.tgrelid where not t.tgisinternal
     order by 1`,
    [withoutState],
  );
  return rows.map((row) => row.fact);
}
