import type { Db } from '../pg/connection.ts';
import { ident, literal } from './quote.ts';
import { askQuickly } from './quick.ts';

/** What is sampled every day and has a forecast. */
export const sampleKinds = ['disk', 'sequence', 'xid', 'multixact', 'database', 'table'] as const;
export type SampleKind = (typeof sampleKinds)[number];

/** A figure of one day. */
export interface Sample {
  /** A counter is what later ones are compared with. */
  kind: SampleKind | 'counter';
  object: string;
  value: bigint;
  /** Where it must not come to; null where there is no such value. */
  bound: bigint | null;
}

/**
 * The size of this database, and the transaction ids and multixact ids so far with the ones at which the server gives no
 * more unless something is frozen: three million before 2^31 from the oldest ("Preventing Transaction ID Wraparound
 * Failures"). Multixact ids begin anew at 2^32. PostgreSQL 14 and later. Privilege: CONNECT. Locks: none.
 */
export async function listServerSamples(db: Db): Promise<Sample[]> {
  return await askQuickly<Sample>(db, {
    text: `/* dbops:samples.server */
      with transaction as (
        select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 as value),
      multixact as (
        select (d.datminmxid::text::int8 + pg_catalog.mxid_age(d.datminmxid)) % 4294967296 as value
          from pg_catalog.pg_database as d
         where d.datname = pg_catalog.current_database())
      select 'database' as kind, pg_catalog.current_database()::text as object,
             pg_catalog.pg_database_size(pg_catalog.current_database()) as value, null::int8 as bound
      union all
      select 'xid', 'cluster', t.value,
             t.value + 2147483647 - 3000000 - (select pg_catalog.max(pg_catalog.age(d.datfrozenxid))
                                                 from pg_catalog.pg_database as d)
        from transaction as t
      union all
      select 'multixact', 'cluster', m.value,
             m.value + 2147483647 - 3000000 - (select pg_catalog.max(pg_catalog.mxid_age(d.datminmxid))
                                                 from pg_catalog.pg_database as d)
        from multixact as m`,
  });
}

/**
 * The statements that keep the samples of a day, and drop those before `oldest`; days are written 2026-11-21. Where none
 * would remain, nothing is dropped: a clock that runs years ahead must not take the whole history along.
 */
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
    `delete from ${ident(schema)}.sample where day < ${literal(oldest)}\n` +
      `   and exists (select from ${ident(schema)}.sample as s where s.day >= ${literal(oldest)} and s.day < ${day})`,
  ];
}

export interface SampleRow {
  kind: SampleKind;
  object: string;
  takenAt: Date;
  value: number;
  bound: number | null;
}

/**
 * The samples of some kinds between two moments, by object and time; those with a bound from a share of it on. What a clock
 * that ran ahead left in the future is none. Privilege: SELECT. Locks: ACCESS SHARE on the table.
 */
export async function listSamples(
  db: Db,
  schema: string,
  question: { since: Date; until: Date; kinds: readonly SampleKind[]; leastShare: number },
): Promise<SampleRow[]> {
  return await askQuickly<SampleRow>(db, {
    text: `/* dbops:samples.list */
      select s.kind, s.object, s.taken_at as "takenAt", s.value::float8 as value, s.bound::float8 as bound
        from ${ident(schema)}.sample as s
       where s.taken_at between $1 and $2 and s.kind = any ($3::text[])
         and (s.bound is null or s.value >= s.bound * $4::float8)
       order by s.kind, s.object, s.taken_at`,
    values: [question.since, question.until, question.kinds, question.leastShare],
  });
}

export interface CounterSampleRow {
  object: string;
  takenAt: Date;
  value: number;
}

/** The newest counters that were sampled within some time. Privilege: SELECT. Locks: ACCESS SHARE on the table. */
export async function listCounterSamples(
  db: Db,
  schema: string,
  { from, to }: { from: Date; to: Date },
): Promise<CounterSampleRow[]> {
  return await db.query<CounterSampleRow>({
    text: `/* dbops:samples.counters */
      select s.object, s.taken_at as "takenAt", s.value::float8 as value
        from ${ident(schema)}.sample as s
       where s.kind = 'counter'
         and s.taken_at = (select pg_catalog.max(n.taken_at) from ${ident(schema)}.sample as n
                            where n.kind = 'counter' and n.taken_at between $1 and $2)`,
    values: [from, to],
  });
}
