import type { Db } from '../pg/connection.ts';
import type { ArchiveRow, ArchiveState } from './archives.ts';
import { ident, literal, literalOrNull, textArray } from './quote.ts';
import { findStateVersion } from './state.ts';

/** What became of the partition that an archive was made of. */
export interface ArchiveSourceRow {
  id: string;
  /** A table of its name, with its oid in its parent, or with its mark is there. */
  exists: boolean;
  /** ... and is a partition. */
  isAttached: boolean;
  /** Null where no partition was detached for this archive. */
  ledgerState: string | null;
  detachedAt: Date | null;
  dropAfter: Date | null;
}

/**
 * Where the rows of each archive of the ledger are beside the store. A table counts as the source when it has the
 * partition's name (whatever it is now: better kept than lost), its oid below the same parent, or the mark of a detach
 * for this archive. No rows where there is no state schema. Privilege: SELECT on the ledger. Locks: ACCESS SHARE on it.
 */
export async function listArchiveSources(db: Db, schema: string): Promise<ArchiveSourceRow[]> {
  if ((await findStateVersion(db, schema)) < 2) return [];
  return await db.query<ArchiveSourceRow>({
    text: `/* dbops:archive-catalogue.sources */
      with marked as materialized (
        select d.objoid as oid, pg_catalog.substring(d.description, ' archive=([^ ]+) ') as archive_id
          from pg_catalog.pg_description as d
         where d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid = 0
           and pg_catalog.starts_with(d.description, 'dbops:detached '))
      select a.id, s.found as "exists", s.attached as "isAttached", l.state as "ledgerState",
             l.detached_at as "detachedAt", l.drop_after as "dropAfter"
        from ${ident(schema)}.archive as a
        cross join lateral (
          select pg_catalog.to_regclass(pg_catalog.format('%I.%I', a.partition_schema, a.partition_name))::oid as named,
                 pg_catalog.to_regclass(pg_catalog.format('%I.%I', a.table_schema, a.table_name))::oid as parent) as o
        cross join lateral (
          select pg_catalog.count(*) > 0 as found, coalesce(pg_catalog.bool_or(c.relispartition), false) as attached
            from pg_catalog.pg_class as c
            left join pg_catalog.pg_inherits as i on i.inhrelid = c.oid
           where c.oid in (o.named, a.partition_oid)
             and (c.oid = o.named or i.inhparent = o.parent)
              or c.oid in (select m.oid from marked as m where m.archive_id = a.id)) as s
        left join lateral (
          select p.state, p.detached_at, p.drop_after from ${ident(schema)}.partition_ledger as p
           where p.archive_id = a.id order by p.id desc limit 1) as l on true`,
  });
}

/** An archive that the stores have and the ledger has not. `partitionOid` 0: not known any more. Privilege: INSERT. */
export function insertFoundArchiveSql(
  schema: string,
  row: Omit<ArchiveRow, 'message' | 'partitionOid'>,
): string {
  const values = [
    literal(row.id),
    literal(row.tableSchema),
    literal(row.tableName),
    literal(row.partitionSchema),
    literal(row.partitionName),
    '0',
    literal(row.bounds),
    literalOrNull(row.upperBound),
    literal(row.place),
    textArray(row.stores),
    literal(row.state),
    literalOrNull(row.rowCount?.toString() ?? null),
    literalOrNull(row.storedBytes?.toString() ?? null),
    literalOrNull(row.baselineXmin),
    literalOrNull(row.hold),
    "'found in its stores'",
    literal(row.createdAt.toISOString()),
    literalOrNull(row.verifiedAt?.toISOString() ?? null),
  ];
  return (
    `insert into ${ident(schema)}.archive (id, table_schema, table_name, partition_schema, partition_name, ` +
    'partition_oid, bounds, upper_bound, place, stores, state, row_count, stored_bytes, baseline_xmin, hold, message, ' +
    `created_at, verified_at) values (${values.join(', ')}) on conflict (id) do nothing`
  );
}

/** In which stores an archive is. Privilege: UPDATE. */
export function archiveStoresSql(schema: string, id: string, stores: string[]): string {
  return updateSql(schema, id, `stores = ${textArray(stores)}`);
}

/** Why an archive is held; null: it is not. Privilege: UPDATE. */
export function archiveHoldSql(schema: string, id: string, reason: string | null): string {
  return updateSql(schema, id, `hold = ${literalOrNull(reason)}`);
}

/** What a manifest in the stores proves of an archive that the ledger had given up. Privilege: UPDATE. */
export function archiveFoundSql(
  schema: string,
  id: string,
  facts: { state: ArchiveState; stores: string[]; rows: bigint; storedBytes: bigint; verifiedAt: Date },
): string {
  return updateSql(
    schema,
    id,
    `state = ${literal(facts.state)}, stores = ${textArray(facts.stores)}, ` +
      `row_count = ${String(facts.rows)}, stored_bytes = ${String(facts.storedBytes)}, ` +
      `verified_at = ${literal(facts.verifiedAt.toISOString())}, message = 'found in its stores'`,
  );
}

function updateSql(schema: string, id: string, values: string): string {
  return (
    `update ${ident(schema)}.archive set ${values}, changed_at = pg_catalog.clock_timestamp() ` +
    `where id = ${literal(id)}`
  );
}
