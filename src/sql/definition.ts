import type { Db } from '../pg/connection.ts';
import type { GrantPart, PolicyPart } from './parents.ts';

/** A table, its columns left out. */
export interface DefinitionTableRow {
  schema: string;
  name: string;
  owner: string;
  persistence: 'permanent' | 'unlogged';
  accessMethod: string;
  tablespace: string | null;
  options: string[];
  toastOptions: string[];
  replicaIdentity: 'default' | 'nothing' | 'full' | 'index';
  replicaIndex: string | null;
  rowSecurity: boolean;
  forceRowSecurity: boolean;
  comment: string | null;
  grants: GrantPart[];
  policies: PolicyPart[];
  triggers: { name: string; definition: string }[];
  rules: { name: string; definition: string }[];
}

/** JSON of all rows of a subquery, never null. */
function jsonRows(query: string, order: string): string {
  return `(select coalesce(pg_catalog.json_agg(pg_catalog.to_json(r) order by ${order}), '[]') from (${query}) as r)`;
}

const grantee = `case when x.grantee = 0 then 'public' else pg_catalog.pg_get_userbyid(x.grantee)::text end as grantee,
                             x.privilege_type as privilege, x.is_grantable as "isGrantable"`;

/**
 * What a table is besides its columns, constraints and indexes. Triggers that are clones of a parent's are left out.
 * Undefined when there is no such table. PostgreSQL 14 and later. Privilege: none. Locks: ACCESS SHARE for an instant.
 */
export async function findDefinitionTable(db: Db, oid: number): Promise<DefinitionTableRow | undefined> {
  const [row] = await db.query<DefinitionTableRow>({
    text: `/* dbops:definition.table */
      select n.nspname as schema, c.relname as name, pg_catalog.pg_get_userbyid(c.relowner)::text as owner,
             case c.relpersistence when 'u' then 'unlogged' else 'permanent' end as persistence,
             m.amname as "accessMethod",
             (select s.spcname from pg_catalog.pg_tablespace as s where s.oid = c.reltablespace) as tablespace,
             coalesce(c.reloptions, '{}') as options,
             coalesce((select t.reloptions from pg_catalog.pg_class as t where t.oid = c.reltoastrelid), '{}')
               as "toastOptions",
             case c.relreplident when 'n' then 'nothing' when 'f' then 'full' when 'i' then 'index' else 'default' end
               as "replicaIdentity",
             (select x.relname from pg_catalog.pg_index as i join pg_catalog.pg_class as x on x.oid = i.indexrelid
               where i.indrelid = c.oid and i.indisreplident) as "replicaIndex",
             c.relrowsecurity as "rowSecurity", c.relforcerowsecurity as "forceRowSecurity",
             pg_catalog.obj_description(c.oid, 'pg_class') as comment,
             ${jsonRows(
               `select ${grantee}, null::text as "column"
                  from pg_catalog.aclexplode(c.relacl) as x where x.grantee <> c.relowner
                union all
                select ${grantee}, a.attname::text
                  from pg_catalog.pg_attribute as a cross join lateral pg_catalog.aclexplode(a.attacl) as x
                 where a.attrelid = c.oid and not a.attisdropped`,
               'r."column" nulls first, r.grantee, r.privilege',
             )} as grants,
             ${jsonRows(
               `select p.polname as name, p.polpermissive as "isPermissive",
                       case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
                                     when 'd' then 'delete' else 'all' end as command,
                       array(select case when o = 0 then 'public' else pg_catalog.pg_get_userbyid(o)::text end
                               from pg_catalog.unnest(p.polroles) as o) as roles,
                       pg_catalog.pg_get_expr(p.polqual, p.polrelid) as "using",
                       pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) as "check"
                  from pg_catalog.pg_policy as p where p.polrelid = c.oid`,
               'r.name',
             )} as policies,
             ${jsonRows(
               `select t.tgname as name, pg_catalog.pg_get_triggerdef(t.oid) as definition
                  from pg_catalog.pg_trigger as t
                 where t.tgrelid = c.oid and not t.tgisinternal and t.tgparentid = 0`,
               'r.name',
             )} as triggers,
             ${jsonRows(
               `select w.rulename as name, pg_catalog.pg_get_ruledef(w.oid) as definition
                  from pg_catalog.pg_rewrite as w where w.ev_class = c.oid`,
               'r.name',
             )} as rules
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join pg_catalog.pg_am as m on m.oid = c.relam
       where c.oid = $1 and c.relkind in ('r', 'p')`,
    values: [oid],
  });
  return row;
}

export interface DefinitionColumnRow {
  name: string;
  type: string;
  collation: string | null;
  notNull: boolean;
  notNullConstraint: {
    name: string;
    isNoInherit: boolean;
    isValidated: boolean;
    comment: string | null;
  } | null;
  default: string | null;
  generated: { expression: string; kind: 'stored' | 'virtual' } | null;
  identity: { kind: 'always' | 'by default'; options: string } | null;
  storage: string | null;
  compression: string | null;
  statistics: number | null;
  options: string[];
  comment: string | null;
}

/** Options of a sequence as CREATE SEQUENCE and GENERATED AS IDENTITY take them. */
export const sequenceOptions = `pg_catalog.concat(
               'increment by ', s.seqincrement, ' minvalue ', s.seqmin, ' maxvalue ', s.seqmax,
               ' start with ', s.seqstart, ' cache ', s.seqcache, case when s.seqcycle then ' cycle' else '' end)`;

/**
 * Columns of a table in their order, dropped ones left out. An identity that a partition shares with its parent (17 and
 * later) is none of its own: DETACH takes it away, and ATTACH refuses a table that brings one. A default names no column,
 * and is read without its table: told it, pg_get_expr before 18 builds the names of all columns anew for each of 1,600
 * defaults. PostgreSQL 14 and later. Privilege: none. Locks: none.
 */
export async function listDefinitionColumns(db: Db, oid: number): Promise<DefinitionColumnRow[]> {
  return await db.query<DefinitionColumnRow>({
    text: `/* dbops:definition.columns */
      select a.attname as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
             case when a.attcollation <> t.typcollation and a.attcollation <> 0
                  then (select pg_catalog.format('%I.%I', n.nspname, l.collname)
                          from pg_catalog.pg_collation as l
                          join pg_catalog.pg_namespace as n on n.oid = l.collnamespace
                         where l.oid = a.attcollation) end as collation,
             a.attnotnull as "notNull",
             (select pg_catalog.json_build_object(
                       'name', k.conname, 'isNoInherit', k.connoinherit, 'isValidated', k.convalidated,
                       'comment', pg_catalog.obj_description(k.oid, 'pg_constraint'))
                from pg_catalog.pg_constraint as k
               where k.conrelid = a.attrelid and k.contype = 'n' and k.conkey[1] = a.attnum) as "notNullConstraint",
             case when a.attgenerated = '' then e.text end as default,
             case when a.attgenerated <> '' then pg_catalog.json_build_object(
                    'expression', e.text,
                    'kind', case a.attgenerated when 'v' then 'virtual' else 'stored' end) end as generated,
             (select pg_catalog.json_build_object(
                       'kind', case a.attidentity when 'a' then 'always' else 'by default' end,
                       'options', ${sequenceOptions})
                from pg_catalog.pg_depend as d
                join pg_catalog.pg_sequence as s on s.seqrelid = d.objid
               where a.attidentity <> '' and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 and d.refobjid = a.attrelid and d.refobjsubid = a.attnum and d.deptype = 'i') as identity,
             case when a.attstorage <> t.typstorage
                  then case a.attstorage when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main'
                                         else 'extended' end end as storage,
             case a.attcompression when 'p' then 'pglz' when 'l' then 'lz4' end as compression,
             case when a.attstattarget >= 0 then a.attstattarget::int4 end as statistics,
             coalesce(a.attoptions, '{}') as options,
             pg_catalog.col_description(a.attrelid, a.attnum) as comment
        from pg_catalog.pg_attribute as a
        join pg_catalog.pg_type as t on t.oid = a.atttypid
        left join lateral (
              select pg_catalog.pg_get_expr(f.adbin, case when a.attgenerated = '' then 0 else f.adrelid end) as text
                from pg_catalog.pg_attrdef as f
               where f.adrelid = a.attrelid and f.adnum = a.attnum) as e on true
       where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
       order by a.attnum`,
    values: [oid],
  });
}
