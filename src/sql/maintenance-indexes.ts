import type { Db, Query } from '../pg/connection.ts';
import { indexWork, isInWork, leftoverPattern } from './invalid-indexes.ts';
import { ident, relation, type RelationName } from './quote.ts';

/** An index that may be rebuilt, or was left behind by a rebuild. */
export interface RebuildRow {
  schema: string;
  name: string;
  oid: number;
  tableSchema: string;
  tableName: string;
  tableOid: number;
  /** From the catalog. */
  sizeBytes: number;
  /** Whether this role owns its table, or may maintain it. */
  mayRebuild: boolean;
}

const columns = (versionNum: number) => `n.nspname as schema, c.relname as name, c.oid::int8::float8 as oid,
             tn.nspname as "tableSchema", t.relname as "tableName", t.oid::int8::float8 as "tableOid",
             c.relpages::float8 * pg_catalog.current_setting('block_size')::float8 as "sizeBytes",
             pg_catalog.pg_has_role(t.relowner, 'usage')${
               versionNum < 170_000 ? '' : " or pg_catalog.has_table_privilege(t.oid, 'maintain')"
             } as "mayRebuild"`;
const joins = `from pg_catalog.pg_index as i
        join pg_catalog.pg_class as c on c.oid = i.indexrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        join pg_catalog.pg_class as t on t.oid = i.indrelid
        join pg_catalog.pg_namespace as tn on tn.oid = t.relnamespace`;

/** A leftover, with whether something is at work on it. */
export interface LeftoverRow extends RebuildRow {
  isInUse: boolean;
}

/**
 * Invalid indexes that REINDEX CONCURRENTLY left behind: _ccnew was to become the index, _ccold was it. What may be in work
 * counts as in use. PostgreSQL 14 and later. Privilege: none; pg_read_all_stats for what others build. Locks: none.
 */
export async function listLeftovers(db: Db): Promise<LeftoverRow[]> {
  return await db.query<LeftoverRow>({
    text: `/* dbops:maintenance-indexes.leftovers */
      with ${indexWork}
      select ${columns(db.server.versionNum)}, coalesce(${isInWork}, true) as "isInUse"
        ${joins}
       where not i.indisvalid and c.relkind = 'i' and c.relname ~ '${leftoverPattern}'
       order by c.relpages, n.nspname, c.relname`,
  });
}

/** How many indexes this database has, those of catalogs too. Privilege: none. Locks: none. */
export async function countIndexes(db: Db): Promise<number> {
  const [row] = await db.query<{ count: number }>({
    text: `/* dbops:maintenance-indexes.count */
      select pg_catalog.count(*)::float8 as count from pg_catalog.pg_class as c where c.relkind = 'i'`,
  });
  return row?.count ?? 0;
}

/**
 * Indexes that a rebuild can work on: these, and those of these tables; the smallest first. An invalid one becomes valid by
 * it; what another rebuild left behind is left out. Privilege: none. Locks: none.
 */
export async function listRebuilds(
  db: Db,
  wanted: { indexes: number[]; tables: number[] },
): Promise<RebuildRow[]> {
  return await db.query<RebuildRow>({
    text: `/* dbops:maintenance-indexes.rebuilds */
      select ${columns(db.server.versionNum)}
        ${joins}
       where c.relkind = 'i' and (c.oid = any ($1::oid[]) or t.oid = any ($2::oid[]))
         and (i.indisvalid or c.relname !~ '${leftoverPattern}')
       order by c.relpages, n.nspname, c.relname`,
    values: [wanted.indexes, wanted.tables],
  });
}

/**
 * How much of a btree index is air: pages that are empty or deleted, and room on the leaves beyond what CREATE INDEX leaves.
 * Reads the whole index, of the extension pgstattuple in this schema. PostgreSQL 14 and later. Privilege: pg_stat_scan_tables.
 * Locks: ACCESS SHARE on the index.
 */
export function measureIndex(schema: string, oid: number): Query {
  return {
    text: `/* dbops:maintenance-indexes.measure */
      select greatest(0, (case when m.leaf_pages > 0 then m.leaf_pages * (1 - least(1, m.avg_leaf_density / f.fill)) else 0 end
                               + m.empty_pages + m.deleted_pages)
                      * pg_catalog.current_setting('block_size')::float8) as bytes
        from (select coalesce((select o.option_value::float8
                                 from pg_catalog.pg_class as c, pg_catalog.pg_options_to_table(c.reloptions) as o
                                where c.oid = $1::oid and o.option_name = 'fillfactor'), 90) as fill) as f,
             ${ident(schema)}.pgstatindex($1::oid::pg_catalog.regclass) as m`,
    values: [oid],
  };
}

/** Locks: SHARE UPDATE EXCLUSIVE on table and index; waits for older transactions on the table, of which none waits for it. */
export function reindexSql(index: RelationName): string {
  return `/* dbops:maintenance-indexes.reindex */ reindex index concurrently ${relation(index)}`;
}

/** Locks: SHARE UPDATE EXCLUSIVE on the table, and at its end ACCESS EXCLUSIVE on the index, which nobody uses. */
export function dropLeftoverSql(index: RelationName): string {
  return `/* dbops:maintenance-indexes.drop */ drop index concurrently if exists ${relation(index)}`;
}
