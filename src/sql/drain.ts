import type { Db } from '../pg/connection.ts';
import { ident, literal, relation, type RelationName } from './quote.ts';

/** A trigger on the table that rows are taken from, which a DELETE there would fire. */
export interface DeleteTriggerRow {
  name: string;
  /** schema.function, as pg_proc has them. */
  calls: string;
  timing: 'before' | 'after' | 'instead of';
  level: 'row' | 'statement';
  /** Fires even under session_replication_role = replica. */
  firesAlways: boolean;
}

/** A publication that would tell its subscribers of the DELETEs. */
export interface PublicationRow {
  name: string;
}

/** What must be known of a table before rows are taken out of it. */
export interface DrainSourceRow {
  isOwner: boolean;
  owner: string;
  /** The heap alone, in bytes: what a scan reads. */
  heapBytes: number;
  /** Blocks of the heap. */
  blocks: number;
  /** Planner's estimate; null when the table was never analyzed or vacuumed. */
  rowEstimate: number | null;
  /** Row security would hide rows from this role. */
  isRowSecurityActive: boolean;
  /** A rule on DELETE would do something else instead. */
  hasDeleteRule: boolean;
  triggers: DeleteTriggerRow[];
  publications: PublicationRow[];
  /** Columns that are inserted: generated ones are left out, the server computes them again. */
  columns: string[];
  /** The key's type as SQL writes it, with its schema where it needs one. */
  keyType: string;
  /** A valid btree index begins with the key. */
  keyIsIndexed: boolean;
  indexes: number;
  /** A unique index is among them. */
  isUnique: boolean;
}

/**
 * Everything about a table that a drain must know, in one statement. 14 marks the triggers that a partition has from its
 * parent as internal, so those of foreign keys are told by their constraint. Leaves out triggers that are disabled, those of
 * foreign keys (see listForeignKeys), and those that only INSERT or UPDATE fires: the rows go into a table that has no
 * triggers yet. Privilege: none. Locks: ACCESS SHARE for an instant. PostgreSQL 14 and later.
 */
export async function getDrainSource(db: Db, oid: number, key: string): Promise<DrainSourceRow> {
  const [row] = await db.query<DrainSourceRow>({
    text: `/* dbops:drain.source */
      select pg_catalog.pg_has_role(c.relowner, 'usage') as "isOwner",
             pg_catalog.pg_get_userbyid(c.relowner) as owner,
             pg_catalog.pg_relation_size(c.oid)::float8 as "heapBytes",
             (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8)::float8 as blocks,
             case when c.reltuples >= 0 then c.reltuples::float8 end as "rowEstimate",
             pg_catalog.row_security_active(c.oid) as "isRowSecurityActive",
             exists (select from pg_catalog.pg_rewrite as r where r.ev_class = c.oid and r.ev_type = '4')
               as "hasDeleteRule",
             (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                       'name', t.tgname, 'calls', n.nspname || '.' || p.proname,
                       'timing', case when t.tgtype::int4 & 2 > 0 then 'before'
                                      when t.tgtype::int4 & 64 > 0 then 'instead of' else 'after' end,
                       'level', case when t.tgtype::int4 & 1 > 0 then 'row' else 'statement' end,
                       'firesAlways', t.tgenabled in ('A', 'R')) order by t.tgname), '[]')
                from pg_catalog.pg_trigger as t
                join pg_catalog.pg_proc as p on p.oid = t.tgfoid
                join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
               where t.tgrelid = c.oid and t.tgenabled <> 'D' and t.tgtype::int4 & 8 > 0
                 and not exists (select from pg_catalog.pg_constraint as f
                                  where f.oid = t.tgconstraint and f.contype = 'f')) as triggers,
             (select coalesce(pg_catalog.json_agg(distinct pg_catalog.jsonb_build_object('name', u.pubname)), '[]')
                from pg_catalog.pg_publication as u
               where u.pubdelete
                 and exists (select from pg_catalog.pg_get_publication_tables(u.pubname::text) as g
                              where g.relid = c.oid
                                 or g.relid in (select a.relid from pg_catalog.pg_partition_ancestors(c.oid) as a)))
               as publications,
             (select pg_catalog.array_agg(a.attname::text order by a.attnum)
                from pg_catalog.pg_attribute as a
               where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns,
             pg_catalog.format_type(k.atttypid, null) as "keyType",
             exists (select from pg_catalog.pg_index as i
                       join pg_catalog.pg_class as x on x.oid = i.indexrelid
                       join pg_catalog.pg_am as m on m.oid = x.relam and m.amname = 'btree'
                      where i.indrelid = c.oid and i.indisvalid and i.indpred is null
                        and i.indkey[0] = k.attnum) as "keyIsIndexed",
             (select pg_catalog.count(*)::int4 from pg_catalog.pg_index as i where i.indrelid = c.oid) as indexes,
             exists (select from pg_catalog.pg_index as i where i.indrelid = c.oid and i.indisunique) as "isUnique"
        from pg_catalog.pg_class as c
        join pg_catalog.pg_attribute as k on k.attrelid = c.oid and k.attname = $2
       where c.oid = $1`,
    values: [oid, key],
  });
  if (row === undefined) throw new Error('the table that was to be drained is not there');
  return row;
}

/** Whether this role may set session_replication_role: superusers, and from 15 on those who were granted it. */
export async function mayDisableTriggers(db: Db): Promise<boolean> {
  if (db.server.isSuperuser) return true;
  if (db.server.versionNum < 150_000) return false;
  const [row] = await db.query<{ may: boolean }>({
    text: `/* dbops:drain.may-disable-triggers */
      select pg_catalog.has_parameter_privilege('session_replication_role', 'set') as may`,
  });
  return row?.may === true;
}

/** Types that have infinities, which belong to no period. */
const typesWithInfinity = new Set([
  'date',
  'timestamp without time zone',
  'timestamp with time zone',
  'timestamp',
]);

/** The least and the greatest key as text; null where there is none. Leaves out nulls and infinities. */
export interface KeyExtremesRow {
  lowest: string | null;
  highest: string | null;
}

/**
 * The least and the greatest key of a table. By `order by`, since uuid has no min() before 18. A scan where no index
 * begins with the key. Privilege: SELECT. Locks: ACCESS SHARE.
 */
export async function findKeyExtremes(
  db: Db,
  table: RelationName,
  key: string,
  keyType: string,
): Promise<KeyExtremesRow> {
  const column = ident(key);
  const finite = typesWithInfinity.has(keyType) ? ` and pg_catalog.isfinite(t.${column})` : '';
  const end = (direction: string) =>
    `(select t.${column}::text from only ${relation(table)} as t where t.${column} is not null${finite} ` +
    `order by t.${column} ${direction} limit 1)`;
  const [row] = await db.query<KeyExtremesRow>({
    text: `/* dbops:drain.extremes */ select ${end('asc')} as lowest, ${end('desc')} as highest`,
  });
  return row ?? { lowest: null, highest: null };
}

/** Rows of one period; periods without rows have no row here. */
export interface PeriodCountRow {
  /** Which of the starts that were given, from 0. */
  place: number;
  rows: number;
}

/**
 * Counts rows by period in one scan. `starts` are the lower ends in order, the last one being the end of the last
 * period. Privilege: SELECT. Locks: ACCESS SHARE.
 */
export async function countByPeriod(
  db: Db,
  table: RelationName,
  key: string,
  keyType: string,
  starts: string[],
): Promise<PeriodCountRow[]> {
  const column = `t.${ident(key)}`;
  return await db.query<PeriodCountRow>({
    text: `/* dbops:drain.count-by-period */
      select pg_catalog.width_bucket(${column}, $1::${keyType}[]) - 1 as place, pg_catalog.count(*)::float8 as rows
        from only ${relation(table)} as t
       where ${column} >= $2::${keyType} and ${column} < $3::${keyType}
       group by 1 order by 1`,
    values: [starts, starts[0], starts.at(-1)],
  });
}

/** What moves rows from one table to another. */
export interface Move {
  source: RelationName;
  target: RelationName;
  key: string;
  columns: string[];
  /** Literals for SQL. */
  from: string;
  to: string;
}

/**
 * Moves all rows of a range in one statement: what it deletes is what it inserts. `overriding system value` because the
 * parent may have an identity column; generated columns are not among the columns.
 */
export function moveSql(move: Move): string {
  return (
    `with gone as (delete from only ${relation(move.source)} as s where ${inRange(move)} ` +
    `returning ${columnList(move.columns, 's')}) ` +
    `insert into ${relation(move.target)} (${columnList(move.columns)}) overriding system value ` +
    `select ${columnList(move.columns, 'gone')} from gone`
  );
}

function columnList(columns: string[], alias?: string): string {
  return columns.map((name) => (alias === undefined ? ident(name) : `${alias}.${ident(name)}`)).join(', ');
}

/** Where a walk stands: behind which key, or before which block. */
export type WalkCursor = { by: 'key'; after: string | null } | { by: 'block'; next: number; end: number };

/** What one batch has done. */
export interface BatchRow {
  picked: number;
  moved: number;
  /** The last key that was looked at; null when there was none, or the walk goes by blocks. */
  last: string | null;
  /** 1 unless the job's row is gone. */
  marked: number;
}

/**
 * Moves one batch and keeps the cursor in the job, in one statement. It begins where the last one ended, by key where an
 * index begins with it, else by blocks: rows that are already gone are never read again from the start. Rows that
 * somebody has locked are passed over; the next walk takes them. Privilege: DELETE on the source, INSERT on the target.
 * Locks: ROW EXCLUSIVE on both, and the rows.
 */
export async function moveBatch(
  db: Db,
  move: Move,
  job: { schema: string; name: string; moved: number },
  cursor: WalkCursor,
  size: number,
): Promise<BatchRow> {
  const byKey = cursor.by === 'key';
  const [row] = await db.query<BatchRow>({
    text: `/* dbops:drain.batch */
      with picked as materialized (${pickSql(move, cursor, size)}),
           gone as (delete from only ${relation(move.source)} as s
                     where s.ctid = any (array(select p.tid from picked as p)) and ${inRange(move)}
                 returning ${columnList(move.columns, 's')}),
           kept as (insert into ${relation(move.target)} (${columnList(move.columns)}) overriding system value
                    select ${columnList(move.columns, 'gone')} from gone returning 1),
           last as (select ${byKey ? '(select p.key::text from picked as p order by p.key desc limit 1)' : 'null'} as key),
           mark as (update ${ident(job.schema)}.job as j
                       set changed_at = pg_catalog.clock_timestamp(),
                           cursor = pg_catalog.jsonb_build_object(
                             'walk', $1::jsonb || ${byKey ? `pg_catalog.jsonb_build_object('after', coalesce(last.key, $1::jsonb ->> 'after'))` : `'{}'`},
                             'moved', $2::int8 + (select pg_catalog.count(*) from kept))
                      from last where j.name = $3 returning 1)
      select (select pg_catalog.count(*)::float8 from picked) as picked,
             (select pg_catalog.count(*)::float8 from kept) as moved,
             (select l.key from last as l) as last,
             (select pg_catalog.count(*)::int4 from mark) as marked`,
    values: [
      JSON.stringify(byKey ? cursor : { ...cursor, next: Math.min(cursor.next + size, cursor.end) }),
      job.moved,
      job.name,
    ],
  });
  if (row === undefined) throw new Error('a batch came back without a row');
  return row;
}

function pickSql(move: Move, cursor: WalkCursor, size: number): string {
  const key = `s.${ident(move.key)}`;
  const from = `select s.ctid as tid, ${key} as key from only ${relation(move.source)} as s where ${inRange(move)}`;
  if (cursor.by === 'key') {
    const after = cursor.after === null ? '' : ` and ${key} >= ${literal(cursor.after)}`;
    return `${from}${after} order by ${key} limit ${String(size)} for update skip locked`;
  }
  const end = Math.min(cursor.next + size, cursor.end);
  return (
    `${from} and s.ctid >= '(${String(cursor.next)},0)'::pg_catalog.tid ` +
    `and s.ctid < '(${String(end)},0)'::pg_catalog.tid for update skip locked`
  );
}

/** The rows of a move, in a table that is called s. */
export function inRange(move: Move): string {
  const key = `s.${ident(move.key)}`;
  return `${key} >= ${move.from} and ${key} < ${move.to}`;
}

/** The same batch without a cursor, for the loop that a dry run prints. */
export function batchSql(move: Move, size: number, keyIsIndexed: boolean): string {
  const order = keyIsIndexed ? ` order by s.${ident(move.key)}` : '';
  return (
    `with gone as (delete from only ${relation(move.source)} as s where s.ctid = any (array(` +
    `select s.ctid from only ${relation(move.source)} as s where ${inRange(move)}${order} ` +
    `limit ${String(size)} for update skip locked)) ` +
    `returning ${columnList(move.columns, 's')}) ` +
    `insert into ${relation(move.target)} (${columnList(move.columns)}) overriding system value ` +
    `select ${columnList(move.columns, 'gone')} from gone`
  );
}

/** A foreign key that points at a partitioned table, for the check after triggers were off. */
export interface IncomingKey {
  constraint: string;
  referencing: RelationName;
  /** Columns of the referencing table and of the referenced one, in the same order. */
  columns: string[];
  referenced: string[];
}

/**
 * Raises when a row of the referencing table points at nothing. The partition key is part of every key that can be
 * referenced, so only references into the moved range are looked at.
 */
export function checkReferencesSql(parent: RelationName, incoming: IncomingKey, move: Move): string {
  const pairs = incoming.columns.map((column, index) => ({
    mine: `f.${ident(column)}`,
    theirs: `p.${ident(incoming.referenced[index] ?? '')}`,
    isKey: incoming.referenced[index] === move.key,
  }));
  const range = pairs
    .filter((pair) => pair.isKey)
    .map((pair) => `${pair.mine} >= ${move.from} and ${pair.mine} < ${move.to}`);
  const notNull = pairs.map((pair) => `${pair.mine} is not null`);
  const equal = pairs.map((pair) => `${pair.theirs} = ${pair.mine}`).join(' and ');
  const message = `foreign key ${ident(incoming.constraint)} of ${relation(incoming.referencing)} is no longer satisfied`;
  return `do ${literal(
    `begin if exists (select from ${relation(incoming.referencing)} as f where ${[...range, ...notNull].join(' and ')} ` +
      `and not exists (select from ${relation(parent)} as p where ${equal})) ` +
      `then raise foreign_key_violation using message = ${literal(message)}; end if; end`,
  )}`;
}

/** Whether LOCK TABLE in a strong mode is allowed on these tables. Privilege: none. */
export async function listLockable(db: Db, oids: number[]): Promise<number[]> {
  if (oids.length === 0) return [];
  const rows = await db.query<{ oid: number }>({
    text: `/* dbops:drain.lockable */
      select w.oid::int8::float8 as oid from pg_catalog.unnest($1::oid[]) as w(oid)
       where pg_catalog.has_table_privilege(w.oid, 'update, delete, truncate')`,
    values: [oids],
  });
  return rows.map((row) => row.oid);
}
