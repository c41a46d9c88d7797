import type { Db } from '../pg/connection.ts';
import { relation, type RelationName } from './quote.ts';

export interface TreeRelationRow extends RelationName {
  oid: number;
  /** i, I, S, or s for extended statistics. */
  kind: string;
  tableOid: number;
}

/**
 * What goes with tables: indexes, the sequences of their columns, extended statistics. PostgreSQL 14 and later. Privilege:
 * none. Locks: none.
 */
export async function listTreeRelations(db: Db, oids: number[]): Promise<TreeRelationRow[]> {
  return await db.query<TreeRelationRow>({
    text: `/* dbops:restore-table.relations */
      with own(oid, table_oid) as (
        select i.indexrelid, i.indrelid from pg_catalog.pg_index as i where i.indrelid = any ($1::oid[])
        -- indexes depend on columns too
        union
        select d.objid, d.refobjid from pg_catalog.pg_depend as d
         where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
           and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
           and d.refobjid = any ($1::oid[]) and d.deptype in ('a', 'i') and d.refobjsubid > 0)
      select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
             o.table_oid::int8::float8 as "tableOid"
        from own as o
        join pg_catalog.pg_class as c on c.oid = o.oid and c.relkind in ('i', 'I', 'S')
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       union all
      select s.oid::int8::float8, n.nspname, s.stxname, 's', s.stxrelid::int8::float8
        from pg_catalog.pg_statistic_ext as s
        join pg_catalog.pg_namespace as n on n.oid = s.stxnamespace
       where s.stxrelid = any ($1::oid[])
       order by 2, 3`,
    values: [oids],
  });
}

/** Tables that these inherit from and that are not among them; partitions left out. Privilege: none. Locks: none. */
export async function listForeignParents(
  db: Db,
  oids: number[],
): Promise<{ child: string; parent: string }[]> {
  return await db.query({
    text: `/* dbops:restore-table.parents */
      select i.inhrelid::pg_catalog.regclass::text as child, i.inhparent::pg_catalog.regclass::text as parent
        from pg_catalog.pg_inherits as i
        join pg_catalog.pg_class as c on c.oid = i.inhrelid and not c.relispartition and c.relkind in ('r', 'p')
       where i.inhrelid = any ($1::oid[]) and not i.inhparent = any ($1::oid[])
       order by 1, 2`,
    values: [oids],
  });
}

export interface WorkSchemaRow {
  name: string;
  comment: string | null;
  /** Whether this session's role may drop it. */
  isOwn: boolean;
}

/** Schemas whose name is one of those that restores work in. Privilege: none. Locks: none. */
export async function listWorkSchemas(db: Db): Promise<WorkSchemaRow[]> {
  return await db.query<WorkSchemaRow>({
    text: `/* dbops:restore-table.work-schemas */
      select n.nspname as name, pg_catalog.obj_description(n.oid, 'pg_namespace') as comment,
             pg_catalog.pg_has_role(n.nspowner, 'member') as "isOwn"
        from pg_catalog.pg_namespace as n
       where n.nspname ~ '^dbops_restoring_[0-9a-f]{12}$'
       order by 1`,
  });
}

/** Lets a sequence go on from a value. Privilege: UPDATE on it. Locks: ROW EXCLUSIVE. */
export async function setSequence(
  db: Db,
  sequence: RelationName,
  state: { lastValue: string; isCalled: boolean },
): Promise<void> {
  await db.query({
    text: `/* dbops:restore-table.set-sequence */
      select pg_catalog.setval($1::pg_catalog.regclass, $2::int8, $3)`,
    values: [relation(sequence), state.lastValue, state.isCalled],
  });
}
