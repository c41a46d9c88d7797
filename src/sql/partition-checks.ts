import type { Db } from '../pg/connection.ts';

/** How a leaf differs from its parent. */
export interface LeafDifferenceRow {
  parentOid: number;
  schema: string;
  name: string;
  owner: string;
  parentOwner: string;
  hasOtherOwner: boolean;
  hasOtherGrants: boolean;
  hasOtherReplicaIdentity: boolean;
  hasOtherRowSecurity: boolean;
}

/**
 * Leaves whose owner, table grants, replica identity or row security differ from their parent's. Grants are compared as
 * sets without the owners' own. Leaves out column grants. Privilege: none. Locks: none.
 */
export async function listLeafDifferences(db: Db, parentOids: number[]): Promise<LeafDifferenceRow[]> {
  return await db.query<LeafDifferenceRow>({
    text: `/* dbops:partition-checks.leaf-differences */
      with pairs as (
        select p.oid as parent, c.oid as leaf, c.relname, c.relnamespace, c.relowner, p.relowner as parent_owner,
               c.relowner <> p.relowner as other_owner,
               c.relreplident <> p.relreplident as other_identity,
               c.relrowsecurity <> p.relrowsecurity or c.relforcerowsecurity <> p.relforcerowsecurity as other_security,
               coalesce((select pg_catalog.array_agg(x.grantee::text || x.privilege_type || x.is_grantable::text
                                                     order by x.grantee, x.privilege_type)
                           from pg_catalog.aclexplode(c.relacl) as x where x.grantee <> c.relowner), '{}')
               <> coalesce((select pg_catalog.array_agg(x.grantee::text || x.privilege_type || x.is_grantable::text
                                                     order by x.grantee, x.privilege_type)
                           from pg_catalog.aclexplode(p.relacl) as x where x.grantee <> p.relowner), '{}')
               as other_grants
          from pg_catalog.pg_inherits as i
          join pg_catalog.pg_class as p on p.oid = i.inhparent
          join pg_catalog.pg_class as c on c.oid = i.inhrelid and c.relkind in ('r', 'p')
         where i.inhparent = any ($1::oid[]))
      select pairs.parent::int8::float8 as "parentOid", n.nspname as schema, pairs.relname as name,
             pg_catalog.pg_get_userbyid(pairs.relowner) as owner,
             pg_catalog.pg_get_userbyid(pairs.parent_owner) as "parentOwner",
             pairs.other_owner as "hasOtherOwner", pairs.other_grants as "hasOtherGrants",
             pairs.other_identity as "hasOtherReplicaIdentity", pairs.other_security as "hasOtherRowSecurity"
        from pairs
        join pg_catalog.pg_namespace as n on n.oid = pairs.relnamespace
       where pairs.other_owner or pairs.other_grants or pairs.other_identity or pairs.other_security
       order by n.nspname, pairs.relname`,
    values: [parentOids],
  });
}

/** An index of a partitioned table that is not whole. */
export interface BrokenIndexRow {
  schema: string;
  table: string;
  index: string;
  /** invalid: it exists and is not valid; missing: leaves lack it. */
  problem: 'invalid' | 'missing';
  leavesWithout: number;
}

/**
 * Indexes of partitioned tables that are invalid (made ON ONLY, or left by a failed build) or that leaves lack, and
 * invalid indexes on leaves. Privilege: none. Locks: none.
 */
export async function listBrokenIndexes(db: Db, parentOids: number[]): Promise<BrokenIndexRow[]> {
  return await db.query<BrokenIndexRow>({
    text: `/* dbops:partition-checks.broken-indexes */
      select n.nspname as schema, t.relname as "table", c.relname as index,
             case when t.relkind = 'p' and lacking.leaves > 0 then 'missing' else 'invalid' end as problem,
             coalesce(lacking.leaves, 0)::int4 as "leavesWithout"
        from pg_catalog.pg_index as x
        join pg_catalog.pg_class as c on c.oid = x.indexrelid
        join pg_catalog.pg_class as t on t.oid = x.indrelid
        join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
        left join lateral (
              select pg_catalog.count(*) as leaves
                from pg_catalog.pg_inherits as i
                join pg_catalog.pg_class as l on l.oid = i.inhrelid and l.relkind in ('r', 'p')
               where t.relkind = 'p' and i.inhparent = t.oid
                 and not exists (select from pg_catalog.pg_inherits as k
                                   join pg_catalog.pg_index as y on y.indexrelid = k.inhrelid and y.indrelid = i.inhrelid
                                  where k.inhparent = x.indexrelid)) as lacking on true
       where not x.indisvalid
         and (t.oid = any ($1::oid[])
              or t.oid in (select i.inhrelid from pg_catalog.pg_inherits as i where i.inhparent = any ($1::oid[])))
       order by n.nspname, t.relname, c.relname`,
    values: [parentOids],
  });
}
