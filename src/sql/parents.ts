import type { Db } from '../pg/connection.ts';

/** What a new partition must get from its parent or its newest sibling, since neither LIKE nor ATTACH brings it. */
export interface ParentRow {
  oid: number;
  schema: string;
  name: string;
  owner: string;
  /** Whether this session may act as the owner: ATTACH and DETACH need it. */
  isOwner: boolean;
  /** Whether this session may create tables in the schema where the leaves go. */
  mayCreate: boolean;
  leafSchema: string;
  /** Where a tablespace of its own is set. */
  tablespace: string | null;
  /** d default, n nothing, f full, i index. */
  replicaIdentity: string;
  /** The replica identity's index on the parent, when it is i. */
  replicaIndexOid: number | null;
  rowSecurity: boolean;
  forceRowSecurity: boolean;
  /** GRANT statements' parts. */
  grants: GrantPart[];
  policies: PolicyPart[];
  /** Columns whose statistics target differs from the default. */
  statisticsTargets: { column: string; target: number }[];
  /** Storage parameters of the newest leaf. */
  siblingOptions: string[];
  /** The newest leaf's access method, when it is not the default. */
  siblingAccessMethod: string | null;
  /** Roles that default privileges would grant something on a new table, and that the parent does not. */
  defaultGrantees: string[];
}

export interface GrantPart {
  grantee: string;
  privilege: string;
  isGrantable: boolean;
  /** Null for the whole table. */
  column: string | null;
}

export interface PolicyPart {
  name: string;
  isPermissive: boolean;
  command: string;
  roles: string[];
  using: string | null;
  check: string | null;
}

/**
 * Everything about parents that a new partition must be given, in one statement for all of them. `leaves` names for each
 * parent its newest leaf, or null. PostgreSQL 14 and later. Privilege: none. Locks: ACCESS SHARE for an instant.
 */
export async function listParents(
  db: Db,
  parents: { oid: number; leafOid: number | null }[],
): Promise<ParentRow[]> {
  return await db.query<ParentRow>({
    text: `/* dbops:parents.list */
      select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name,
             pg_catalog.pg_get_userbyid(c.relowner) as owner,
             pg_catalog.pg_has_role(c.relowner, 'usage') as "isOwner",
             pg_catalog.has_schema_privilege(coalesce(l.relnamespace, c.relnamespace), 'create') as "mayCreate",
             coalesce(ln.nspname, n.nspname) as "leafSchema",
             (select s.spcname from pg_catalog.pg_tablespace as s where s.oid = c.reltablespace) as tablespace,
             c.relreplident::text as "replicaIdentity",
             (select i.indexrelid::int8::float8 from pg_catalog.pg_index as i
               where i.indrelid = c.oid and i.indisreplident) as "replicaIndexOid",
             c.relrowsecurity as "rowSecurity", c.relforcerowsecurity as "forceRowSecurity",
             (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                       'grantee', g.grantee, 'privilege', g.privilege, 'isGrantable', g.grantable,
                       'column', g.attname) order by g.attname nulls first, g.grantee, g.privilege), '[]')
                from (select case when x.grantee = 0 then 'public'
                                  else pg_catalog.pg_get_userbyid(x.grantee)::text end as grantee,
                             x.privilege_type as privilege, x.is_grantable as grantable, null::text as attname
                        from pg_catalog.aclexplode(c.relacl) as x where x.grantee <> c.relowner
                       union all
                      select case when x.grantee = 0 then 'public'
                                  else pg_catalog.pg_get_userbyid(x.grantee)::text end,
                             x.privilege_type, x.is_grantable, a.attname::text
                        from pg_catalog.pg_attribute as a
                       cross join lateral pg_catalog.aclexplode(a.attacl) as x
                       where a.attrelid = c.oid and not a.attisdropped) as g) as grants,
             (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                       'name', p.polname, 'isPermissive', p.polpermissive,
                       'command', case p.polcmd when 'r' then 'select' when 'a' then 'insert'
                                                when 'w' then 'update' when 'd' then 'delete' else 'all' end,
                       'roles', (select pg_catalog.json_agg(case when r = 0 then 'public'
                                          else pg_catalog.pg_get_userbyid(r)::text end)
                                   from pg_catalog.unnest(p.polroles) as r),
                       'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
                       'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) order by p.polname), '[]')
                from pg_catalog.pg_policy as p where p.polrelid = c.oid) as policies,
             (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                       'column', a.attname, 'target', a.attstattarget) order by a.attnum), '[]')
                from pg_catalog.pg_attribute as a
               where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attstattarget >= 0)
               as "statisticsTargets",
             coalesce(l.reloptions, '{}') as "siblingOptions",
             (select m.amname from pg_catalog.pg_am as m
               where m.oid = l.relam
                 and m.amname <> pg_catalog.current_setting('default_table_access_method')) as "siblingAccessMethod",
             (select coalesce(pg_catalog.json_agg(distinct case when x.grantee = 0 then 'public'
                                else pg_catalog.pg_get_userbyid(x.grantee)::text end), '[]')
                from pg_catalog.pg_default_acl as d
               cross join lateral pg_catalog.aclexplode(d.defaclacl) as x
               where d.defaclobjtype = 'r'
                 and d.defaclrole = (select r.oid from pg_catalog.pg_roles as r where r.rolname = current_user)
                 and d.defaclnamespace in (0, coalesce(l.relnamespace, c.relnamespace))
                 and x.grantee <> d.defaclrole) as "defaultGrantees"
        from unnest($1::oid[], $2::oid[]) as w(oid, leaf)
        join pg_catalog.pg_class as c on c.oid = w.oid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join pg_catalog.pg_class as l on l.oid = w.leaf
        left join pg_catalog.pg_namespace as ln on ln.oid = l.relnamespace`,
    values: [parents.map((item) => item.oid), parents.map((item) => item.leafOid)],
  });
}

/** A foreign key that touches a partitioned table; attaching and detaching lock the other side too. */
export interface ForeignKeyRow {
  /** The partitioned table asked about. */
  oid: number;
  direction: 'outgoing' | 'incoming';
  constraint: string;
  otherOid: number;
  otherSchema: string;
  otherName: string;
  /** Columns on the table asked about, and on the other. */
  columns: string[];
  otherColumns: string[];
  /** a no action, r restrict, c cascade, n set null, d set default. */
  onDelete: string;
  mayReference: boolean;
}

/**
 * Foreign keys from and to the given tables. Leaves out those that partitions inherit. Privilege: none. Locks: none.
 */
export async function listForeignKeys(db: Db, oids: number[]): Promise<ForeignKeyRow[]> {
  return await db.query<ForeignKeyRow>({
    text: `/* dbops:parents.foreign-keys */
      select side.oid::int8::float8 as oid, side.direction, k.conname as constraint,
             side.other::int8::float8 as "otherOid", n.nspname as "otherSchema", o.relname as "otherName",
             (select pg_catalog.array_agg(a.attname::text order by x.place)
                from pg_catalog.unnest(side.columns) with ordinality as x(number, place)
                join pg_catalog.pg_attribute as a on a.attrelid = side.oid and a.attnum = x.number) as columns,
             (select pg_catalog.array_agg(a.attname::text order by x.place)
                from pg_catalog.unnest(side.others) with ordinality as x(number, place)
                join pg_catalog.pg_attribute as a on a.attrelid = side.other and a.attnum = x.number)
               as "otherColumns",
             k.confdeltype::text as "onDelete",
             pg_catalog.has_table_privilege(side.other, 'references') as "mayReference"
        from pg_catalog.pg_constraint as k
       cross join lateral (
              values ('outgoing', k.conrelid, k.confrelid, k.conkey, k.confkey),
                     ('incoming', k.confrelid, k.conrelid, k.confkey, k.conkey))
              as side(direction, oid, other, columns, others)
        join pg_catalog.pg_class as o on o.oid = side.other
        join pg_catalog.pg_namespace as n on n.oid = o.relnamespace
       where k.contype = 'f' and k.conparentid = 0 and side.oid = any ($1::oid[])
       order by k.conname`,
    values: [oids],
  });
}
