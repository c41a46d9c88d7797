import type { Db } from '../pg/connection.ts';
import type { RelationName } from './quote.ts';
import { ruleEventsSql, triggersSql, type RowsTrigger } from './rows-table.ts';

/** A partition, with what it may have of its own: none of that shows at the table above it. */
export interface RowsPart extends RelationName {
  oid: number;
  /** As in pg_class.relkind. */
  kind: string;
  /** A crash empties it. */
  isUnlogged: boolean;
  /** INSERT, UPDATE or DELETE, of those that a rule rewrites where the partition itself is named. */
  ruleEvents: ('insert' | 'update' | 'delete')[];
  /** Enabled ones, those that it got from the table above among them. */
  triggers: RowsTrigger[];
}

/** All partitions below a table, by name; none for a table that is not partitioned. Privilege: none. Locks: none. */
export async function listRowsParts(db: Db, oid: number): Promise<RowsPart[]> {
  return await db.query<RowsPart>({
    text: `/* dbops:rows-parts.list */
      select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
             c.relpersistence = 'u' as "isUnlogged", ${ruleEventsSql} as "ruleEvents", ${triggersSql} as triggers
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where c.oid <> $1 and c.oid in (select p.relid from pg_catalog.pg_partition_tree($1) as p)
       order by n.nspname, c.relname`,
    values: [oid],
  });
}

/** Where a table that holds rows of a job stands now. */
export interface LeafState extends RelationName {
  /** As in RowsLeaf. */
  file: number;
  /** It is the job's table, or still a partition of it. */
  isPart: boolean;
}

/**
 * Asked behind a statement that has locked the table: what is answered then held for that statement. Undefined when the
 * table is gone. Privilege: none. Locks: none.
 */
export async function findLeafState(db: Db, oid: number, tableOid: number): Promise<LeafState | undefined> {
  const [row] = await db.query<LeafState>({
    text: `/* dbops:rows-parts.leaf-state */
      select n.nspname as schema, c.relname as name, pg_catalog.pg_relation_filenode(c.oid)::int8::float8 as file,
             c.oid = $2 or $2 in (select a.relid from pg_catalog.pg_partition_ancestors(c.oid) as a) as "isPart"
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where c.oid = $1`,
    values: [oid, tableOid],
  });
  return row;
}
