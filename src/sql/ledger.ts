import type { Db } from '../pg/connection.ts';
import { ident, literal, relation, type RelationName } from './quote.ts';
import { findStateVersion } from './state.ts';

export type LedgerState = 'detaching' | 'detached' | 'attached again' | 'dropped';

/** A partition that left its set, or is about to. */
export interface LedgerRow {
  /** Quoted schema.table of the parent. */
  parent: string;
  schema: string;
  name: string;
  oid: number;
  bounds: string;
  state: LedgerState;
  reason: string;
  policy: string;
  /** The archive that it was detached for. */
  archiveId: string | null;
  dropAfter: Date | null;
  detachedAt: Date | null;
  /** Whether the table is still there: by its oid, under its name or with its mark (somebody may have renamed it). */
  exists: boolean;
  /** Whether it is a partition of something (again, or still). */
  isAttached: boolean;
  isDetachPending: boolean;
  comment: string | null;
  /** Null while somebody holds it in ACCESS EXCLUSIVE, or when it is gone. */
  sizeBytes: number | null;
}

/**
 * Ledger rows that are not yet closed, oldest first; none where there is no state schema yet. Privilege: SELECT on the
 * ledger. Locks: ACCESS SHARE on it.
 */
export async function listOpenLedger(db: Db, schema: string): Promise<LedgerRow[]> {
  if ((await findStateVersion(db, schema)) === 0) return [];
  return await db.query<LedgerRow>({
    text: `/* dbops:ledger.open */
      select l.parent, coalesce(n.nspname, l.partition_schema) as schema, coalesce(c.relname, l.partition_name) as name,
             l.partition_oid::int8::float8 as oid, l.bounds, l.state, l.reason, l.policy,
             l.archive_id as "archiveId", l.drop_after as "dropAfter", l.detached_at as "detachedAt",
             c.oid is not null as "exists", coalesce(c.relispartition, false) as "isAttached",
             coalesce(i.inhdetachpending, false) as "isDetachPending",
             pg_catalog.obj_description(c.oid, 'pg_class') as comment,
             case when c.oid is not null and not exists (
                    select from pg_catalog.pg_locks as k where k.relation = c.oid and k.mode = 'AccessExclusiveLock')
                  then pg_catalog.pg_total_relation_size(c.oid)::float8 end as "sizeBytes"
        from ${ident(schema)}.partition_ledger as l
        left join pg_catalog.pg_class as c
          on c.oid = l.partition_oid
         and (c.oid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', l.partition_schema, l.partition_name))
              or pg_catalog.starts_with(pg_catalog.obj_description(c.oid, 'pg_class'), 'dbops:detached '))
        left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join pg_catalog.pg_inherits as i on i.inhrelid = c.oid
       where l.state in ('detaching', 'detached')
       order by l.id`,
  });
}

export interface NewLedgerRow {
  parent: RelationName;
  partition: RelationName;
  oid: number;
  bounds: string;
  reason: string;
  policy: string;
  archiveId: string | null;
}

/** Says before a detach that it is about to happen, so that a kill in between is understood. Privilege: INSERT. */
export function insertLedgerSql(schema: string, row: NewLedgerRow): string {
  const values = [
    literal(relation(row.parent)),
    literal(row.partition.schema),
    literal(row.partition.name),
    String(row.oid),
    literal(row.bounds),
    "'detaching'",
    literal(row.reason),
    literal(row.policy),
    row.archiveId === null ? 'null' : literal(row.archiveId),
  ];
  return (
    `insert into ${ident(schema)}.partition_ledger (parent, partition_schema, partition_name, partition_oid, bounds, ` +
    `state, reason, policy, archive_id) values (${values.join(', ')})`
  );
}

/** Takes back the note of a detach that did not happen. Privilege: DELETE. */
export function deleteLedgerSql(schema: string, oid: number): string {
  return `delete from ${ident(schema)}.partition_ledger where partition_oid = ${String(oid)} and state = 'detaching'`;
}

/**
 * Moves the open ledger row of a table on; it goes into the same transaction as the change it tells of. `dropAfter`
 * null: never by itself. Privilege: UPDATE.
 */
export function ledgerStateSql(
  schema: string,
  oid: number,
  state: LedgerState,
  dropAfter?: Date | null,
): string {
  const detached = state === 'detached' ? ', detached_at = pg_catalog.clock_timestamp()' : '';
  const after =
    dropAfter === undefined
      ? ''
      : `, drop_after = ${dropAfter === null ? 'null' : literal(dropAfter.toISOString())}`;
  return (
    `update ${ident(schema)}.partition_ledger set state = ${literal(state)}${detached}${after}, ` +
    `changed_at = pg_catalog.clock_timestamp() ` +
    `where partition_oid = ${String(oid)} and state in ('detaching', 'detached')`
  );
}
