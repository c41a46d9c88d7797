import type { Db } from '../pg/connection.ts';
import type { RelationName } from './quote.ts';

/** A relation that is read on behalf of another one. */
export interface ReadRow extends RelationName {
  /** The oid of the view or the table that is refreshed or analyzed. */
  of: number;
}

/**
 * What a refresh of these materialized views, or an ANALYZE of these partitioned tables, reads beside themselves: the tables
 * behind the views, through views on views, and all partitions. Leaves out what functions of a view read. PostgreSQL 14 and
 * later. Privilege: none. Locks: none, while pg_partition_tree() would stand behind whoever holds a partition.
 */
export async function listReads(db: Db, oids: number[]): Promise<ReadRow[]> {
  if (oids.length === 0) return [];
  return await db.query<ReadRow>({
    text: `/* dbops:maintenance-reads.list */
      with recursive below(root, oid) as (
             select w.oid, w.oid from unnest($1::oid[]) as w(oid)
              union
             select b.root, x.oid
               from below as b
              cross join lateral (
                     select i.inhrelid as oid from pg_catalog.pg_inherits as i where i.inhparent = b.oid
                      union all
                     select d.refobjid
                       from pg_catalog.pg_class as v
                       join pg_catalog.pg_rewrite as r on r.ev_class = v.oid and r.ev_type = '1'
                       join pg_catalog.pg_depend as d
                         on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.objid = r.oid
                        and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      -- A materialized view that another one reads is read as a table.
                      where v.oid = b.oid and (v.relkind = 'v' or v.oid = b.root)) as x)
      select b.root::int8::float8 as of, n.nspname as schema, c.relname as name
        from below as b
        join pg_catalog.pg_class as c on c.oid = b.oid and c.relkind in ('r', 'p', 'm', 'v', 'f')
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where b.oid <> b.root
       order by b.root, n.nspname, c.relname`,
    values: [oids],
  });
}
