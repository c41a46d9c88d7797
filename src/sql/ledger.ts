import type { Db } from '../pg/connection.ts';
import { ident, literal, relation, type RelationName } from './quote.ts';

export type LedgerState = 'detaching' | 'detached' | 'attached again' | 'dropping' | 'dropped';

/** A partition that left its set, or is about to. */
export interface LedgerRow {
  id: bigint;
  /** Quoted schema.table of the parent. */
  parent: string;
  schema: string;
  name: string;
  oid: number;
  bounds: string;
  state: LedgerState;
  reason: string;
  policy: string;
  dropAfter: Date | null;
  archiveId: string | null;
  detachedAt: Date | null;
  /** Whether a table with that oid is still there under that name. */
  exists: boolean;
  /** Whether it is a partition of something again. */
  isAttached: boolean;
  comment: string | null;
}

/** Ledger rows that are not yet closed, oldest first. Privilege: SELECT on the ledger. Locks: ACCESS SHARE on it. */
export async function listOpenLedger(db: Db, schema: string): Promise<LedgerRow[]> {
  return await db.query<LedgerRow>({
    text: `/* dbops:ledger.open */
      select l.id, l.parent, l.partition_schema as schema, l.partition_name as name,
             l.partition_oid::int8::float8 as oid, l.bounds, l.state, l.reason, l.policy,
             l.drop_after as "dropAfter", l.archive_id as "archiveId", l.detached_at as "detachedAt",
             c.oid is not null as "exists", coalesce(c.relispartition, false) as "isAttached",
             pg_catalog.obj_description(c.oid, 'pg_class') as comment
        from ${ident(schema)}.partition_ledger as l
        left join pg_catalog.pg_namespace as n on n.nspname = l.partition_schema
        left join pg_catalog.pg_class as c
          on c.oid = l.partition_oid and c.relname = l.partition_name and c.relnamespace = n.oid
       where l.state in ('detaching', 'detached', 'dropping')
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
}

/** Says before a detach that it is about to happen, so that a kill in between is understood. Privilege: INSERT. */
export async function insertLedger(db: Db, schema: string, row: NewLedgerRow): Promise<bigint> {
  const [inserted] = await db.query<{ id: bigint }>({
    text: `/* dbops:ledger.insert */
      insert into ${ident(schema)}.partition_ledger
             (parent, partition_schema, partition_name, partition_oid, bounds, state, reason, policy)
      values ($1, $2, $3, $4, $5, 'detaching', $6, $7)
      returning id`,
    values: [
      relation(row.parent),
      row.partition.schema,
      row.partition.name,
      row.oid,
      row.bounds,
      row.reason,
      row.policy,
    ],
  });
  if (inserted === undefined) throw new Error('the ledger row was not written');
  return inserted.id;
}

/** SQL that moves a ledger row on; it goes into the same transaction as the change it tells of. */
export function ledgerStateSql(
  schema: string,
  id: bigint,
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
    `changed_at = pg_catalog.clock_timestamp() where id = ${String(id)}`
  );
}
