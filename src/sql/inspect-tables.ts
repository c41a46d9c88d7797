import type { Db } from '../pg/connection.ts';
import { lockedRelations, sizeOf } from './inspect-sizes.ts';
import { askQuickly } from './quick.ts';

/** How a table is used and cared for. */
export interface TableUseRow {
  schema: string;
  name: string;
  rows: number;
  deadRows: number;
  /** Rows read by sequential scans. */
  scannedRows: number;
  sequentialScans: number;
  indexScans: number;
  inserted: number;
  updated: number;
  deleted: number;
  /** Of the updates, those that touched no index. */
  hotUpdated: number;
  lastVacuum: Date | null;
  lastAnalyze: Date | null;
  /** Transactions since the oldest unfrozen row of the table or of its TOAST. */
  freezeAge: number | null;
}

/** What tables can be sorted by, with the expression for it. */
export const tableOrders = {
  writes: 's.n_tup_ins + s.n_tup_upd + s.n_tup_del',
  reads: 's.seq_tup_read + coalesce(s.idx_tup_fetch, 0)',
  dead: 's.n_dead_tup',
  age: '"freezeAge"',
} as const;
export type TableOrder = keyof typeof tableOrders;

/**
 * Tables by their use since the statistics began, partitions each on their own. PostgreSQL 14 and later. Privilege:
 * none. Locks: none on tables.
 */
export async function listTableUse(db: Db, order: TableOrder, limit: number): Promise<TableUseRow[]> {
  return await askQuickly<TableUseRow>(db, {
    text: `/* dbops:inspect.tables */
      select s.schemaname::text as schema, s.relname::text as name,
             s.n_live_tup::float8 as rows, s.n_dead_tup::float8 as "deadRows", s.seq_tup_read::float8 as "scannedRows",
             s.seq_scan::float8 as "sequentialScans", coalesce(s.idx_scan, 0)::float8 as "indexScans",
             s.n_tup_ins::float8 as inserted, s.n_tup_upd::float8 as updated, s.n_tup_del::float8 as deleted,
             s.n_tup_hot_upd::float8 as "hotUpdated",
             greatest(s.last_vacuum, s.last_autovacuum) as "lastVacuum",
             greatest(s.last_analyze, s.last_autoanalyze) as "lastAnalyze",
             greatest(case when c.relfrozenxid <> '0'::pg_catalog.xid then pg_catalog.age(c.relfrozenxid) end,
                      case when t.relfrozenxid <> '0'::pg_catalog.xid then pg_catalog.age(t.relfrozenxid) end)::float8
               as "freezeAge"
        from pg_catalog.pg_stat_user_tables as s
        join pg_catalog.pg_class as c on c.oid = s.relid and c.relkind in ('r', 'm')
        left join pg_catalog.pg_class as t on t.oid = c.reltoastrelid
       order by ${tableOrders[order]} desc nulls last, 1, 2
       limit $1`,
    values: [limit],
  });
}

/** An index with its size and use. */
export interface IndexUseRow {
  schema: string;
  name: string;
  table: string;
  method: string;
  bytes: number;
  isEstimated: boolean;
  scans: number;
  isPrimary: boolean;
  isUnique: boolean;
  isValid: boolean;
  definition: string;
}

/** What indexes can be sorted by, with the expression for it. */
export const indexOrders = { size: 'bytes desc', scans: 'scans desc', unused: 'scans, bytes desc' } as const;
export type IndexOrder = keyof typeof indexOrders;

/**
 * Indexes by size or use since the statistics began. PostgreSQL 14 and later. Privilege: none. Locks: ACCESS SHARE on
 * each index for a moment, but on none that somebody holds or awaits in ACCESS EXCLUSIVE; their definition is left out.
 */
export async function listIndexUse(db: Db, order: IndexOrder, limit: number): Promise<IndexUseRow[]> {
  return await askQuickly<IndexUseRow>(db, {
    text: `/* dbops:inspect.indexes */
      with locked as materialized (${lockedRelations}),
      chosen as (
        select s.schemaname::text as schema, s.indexrelname::text as name, s.relname::text as "table", x.relam,
               (${sizeOf('x')})::float8 as bytes, x.oid in (select k.relation from locked as k) as estimated,
               s.idx_scan as scans,
               i.indexrelid, i.indrelid, i.indisprimary, i.indisunique, i.indisvalid
          from pg_catalog.pg_stat_user_indexes as s
          join pg_catalog.pg_class as x on x.oid = s.indexrelid
          join pg_catalog.pg_index as i on i.indexrelid = s.indexrelid
         order by ${indexOrders[order]}, 1, 2
         limit $1)
      select c.schema, c.name, c."table", m.amname::text as method, c.bytes, c.estimated as "isEstimated", c.scans::float8 as scans,
             c.indisprimary as "isPrimary", c.indisunique as "isUnique", c.indisvalid as "isValid",
             case when c.indrelid in (select k.relation from locked as k) or c.estimated then ''
                  else pg_catalog.pg_get_indexdef(c.indexrelid) end as definition
        from chosen as c
        join pg_catalog.pg_am as m on m.oid = c.relam
       order by ${indexOrders[order].replaceAll(/\b(?=bytes|scans)/g, 'c.')}, 1, 2`,
    values: [limit],
  });
}
