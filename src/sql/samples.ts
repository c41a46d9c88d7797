import type { Db } from '../pg/connection.ts';
import { ident, literal } from './quote.ts';
import { askQuickly } from './quick.ts';

/** What is sampled every day. */
export const sampleKinds = ['disk', 'sequence', 'xid', 'database', 'table'] as const;
export type SampleKind = (typeof sampleKinds)[number];

/** A figure of one day. */
export interface Sample {
  kind: SampleKind;
  object: string;
  value: bigint;
  /** Where it must not come to; null where there is no such value. */
  bound: bigint | null;
}

/**
 * The size of this database, the last value of each sequence with the most that its column takes, and the transactions
 * so far with the one at which the server takes no more unless something is frozen: three million before 2^31 from the
 * oldest unfrozen one ("Preventing Transaction ID Wraparound Failures"). Leaves out sequences that were never used,
 * cycle, or may not be read (see countUnseenSequences), and those that somebody holds against reading. PostgreSQL 14
 * and later. Privilege: USAGE or SELECT on sequences. Locks: ROW EXCLUSIVE on sequences for a moment.
 */
export async function listServerSamples(db: Db): Promise<Sample[]> {
  return await askQuickly<Sample>(db, {
    text: `/* dbops:samples.server */
      with held as materialized (
        select l.relation from pg_catalog.pg_locks as l
         where l.locktype = 'relation'
           and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')),
      readable as materialized (
        select s.seqrelid, n.nspname || '.' || c.relname as object,
               least(s.seqmax, case a.atttypid when 21 then 32767 when 23 then 2147483647 else s.seqmax end) as bound
          from pg_catalog.pg_sequence as s
          join pg_catalog.pg_class as c on c.oid = s.seqrelid and c.relpersistence <> 't'
          join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
          left join pg_catalog.pg_depend as d
            on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = s.seqrelid
           and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjsubid > 0
           and d.deptype in ('a', 'i')
          left join pg_catalog.pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
         where s.seqincrement > 0 and not s.seqcycle
           and pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
           and s.seqrelid not in (select h.relation from held as h)),
      used as materialized (
        select r.object, pg_catalog.pg_sequence_last_value(r.seqrelid) as value, r.bound from readable as r),
      transaction as (
        select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 as value)
      select 'database' as kind, pg_catalog.current_database()::text as object,
             pg_catalog.pg_database_size(pg_catalog.current_database()) as value, null::int8 as bound
      union all
      select 'xid', 'cluster', t.value,
             t.value + 2147483647 - 3000000 - (select pg_catalog.max(pg_catalog.age(d.datfrozenxid))
                                                 from pg_catalog.pg_database as d)
        from transaction as t
      union all
      select 'sequence', u.object, u.value, u.bound from used as u where u.value is not null`,
  });
}

/** How many sequences this role may not read. Privilege: none. Locks: none. */
export async function countUnseenSequences(db: Db): Promise<number> {
  const [row] = await askQuickly<{ unseen: number }>(db, {
    text: `/* dbops:samples.unseen */
      select pg_catalog.count(*)::int4 as unseen
        from pg_catalog.pg_sequence as s
       where not pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')`,
  });
  return row?.unseen ?? 0;
}

/** The statements that keep the samples of a day, and drop those before `oldest`; days are written 2026-11-21. */
export function sampleStatements(
  schema: string,
  samples: Sample[],
  { takenAt, oldest }: { takenAt: Date; oldest: string },
): string[] {
  const at = literal(takenAt.toISOString());
  const day = literal(takenAt.toISOString().slice(0, 10));
  const values = samples.map(
    ({ kind, object, value, bound }) =>
      `(${literal(kind)}, ${literal(object)}, ${day}, ${String(value)}, ${bound === null ? 'null' : String(bound)}, ${at})`,
  );
  return [
    `insert into ${ident(schema)}.sample (kind, object, day, value, bound, taken_at)\nvalues ${values.join(',\n       ')}\n` +
      'on conflict (kind, object, day) do update set value = excluded.value, bound = excluded.bound, taken_at = excluded.taken_at',
    `delete from ${ident(schema)}.sample where day < ${literal(oldest)}`,
  ];
}

export interface SampleRow {
  kind: SampleKind;
  object: string;
  takenAt: Date;
  value: number;
  bound: number | null;
}

/** The samples since a moment, by object and time. Privilege: SELECT. Locks: ACCESS SHARE on the table. */
export async function listSamples(db: Db, schema: string, since: Date): Promise<SampleRow[]> {
  return await askQuickly<SampleRow>(db, {
    text: `/* dbops:samples.list */
      select s.kind, s.object, s.taken_at as "takenAt", s.value::float8 as value, s.bound::float8 as bound
        from ${ident(schema)}.sample as s
       where s.taken_at >= $1
       order by s.kind, s.object, s.taken_at`,
    values: [since],
  });
}
