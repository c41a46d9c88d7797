import type { Db } from '../pg/connection.ts';

/** The table that is to be converted, as far as it matters whether it can be. */
export interface ConvertTableRow {
  oid: number;
  schema: string;
  name: string;
  /** r table, p partitioned. */
  kind: string;
  /** p permanent, u unlogged, t temporary. */
  persistence: string;
  isPartition: boolean;
  /** The composite type of a typed table. */
  ofType: string | null;
  inheritsFrom: string[];
  inheritedBy: string[];
  /** The extension that it belongs to. */
  extension: string | null;
  hasSecurityLabel: boolean;
  comment: string | null;
  sizeBytes: number;
}

/**
 * The relation of one name. Undefined when there is none. PostgreSQL 14 and later. Privilege: none. Locks: ACCESS SHARE
 * for an instant (its size).
 */
export async function findConvertTable(
  db: Db,
  schema: string,
  name: string,
): Promise<ConvertTableRow | undefined> {
  const [row] = await db.query<ConvertTableRow>({
    text: `/* dbops:convert.table */
      select c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
             c.relpersistence::text as persistence, c.relispartition as "isPartition",
             case when c.reloftype <> 0 then pg_catalog.format_type(c.reloftype, null) end as "ofType",
             array(select i.inhparent::pg_catalog.regclass::text from pg_catalog.pg_inherits as i
                    where i.inhrelid = c.oid) as "inheritsFrom",
             array(select i.inhrelid::pg_catalog.regclass::text from pg_catalog.pg_inherits as i
                    where i.inhparent = c.oid) as "inheritedBy",
             (select e.extname from pg_catalog.pg_depend as d
                join pg_catalog.pg_extension as e on e.oid = d.refobjid
               where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid
                 and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e') as extension,
             exists (select from pg_catalog.pg_seclabel as l
                      where l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and l.objoid = c.oid)
               as "hasSecurityLabel",
             pg_catalog.obj_description(c.oid, 'pg_class') as comment,
             coalesce(pg_catalog.pg_table_size(c.oid), 0)::float8 as "sizeBytes"
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where n.nspname = $1 and c.relname = $2`,
    values: [schema, name],
  });
  return row;
}

/** The sequence behind a column, with everything that makes another one like it. */
export interface ColumnSequence {
  schema: string;
  name: string;
  type: string;
  start: string;
  increment: string;
  min: string;
  max: string;
  cache: string;
  cycle: boolean;
  /** Grants to others than the owner: "select on sequence to role" parts. */
  grants: { grantee: string; privilege: string; isGrantable: boolean }[];
  /** Roles to which default privileges would grant something on another sequence of the table's owner. */
  defaultGrantees: string[];
  comment: string | null;
}

export interface ConvertColumnRow {
  name: string;
  type: string;
  /** pg_type.typname, domains resolved. */
  typeName: string;
  isNotNull: boolean;
  /** Empty, or s stored, v virtual. */
  generated: string;
  /** Empty, or a always, d by default. */
  identity: string;
  /** The sequence of an identity, or the one that the column owns. */
  sequence: ColumnSequence | null;
  /** Such as n_distinct=-1. */
  options: string[];
}

/** Columns of a table in their order. Privilege: none. Locks: none on tables. */
export async function listConvertColumns(db: Db, oid: number): Promise<ConvertColumnRow[]> {
  return await db.query<ConvertColumnRow>({
    text: `/* dbops:convert.columns */
      select a.attname as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
             coalesce(b.typname, t.typname) as "typeName", a.attnotnull as "isNotNull",
             a.attgenerated::text as generated, a.attidentity::text as identity,
             (select pg_catalog.json_build_object(
                       'schema', n.nspname, 'name', c.relname, 'type', pg_catalog.format_type(s.seqtypid, null),
                       'start', s.seqstart::text, 'increment', s.seqincrement::text, 'min', s.seqmin::text,
                       'max', s.seqmax::text, 'cache', s.seqcache::text, 'cycle', s.seqcycle,
                       'comment', pg_catalog.obj_description(c.oid, 'pg_class'),
                       'defaultGrantees', (
                         select coalesce(pg_catalog.json_agg(distinct case when x.grantee = 0 then 'public'
                                           else pg_catalog.pg_get_userbyid(x.grantee)::text end), '[]')
                           from pg_catalog.pg_class as o
                           join pg_catalog.pg_default_acl as e
                             on e.defaclobjtype = 'S' and e.defaclrole = o.relowner
                            and e.defaclnamespace in (0, o.relnamespace)
                          cross join lateral pg_catalog.aclexplode(e.defaclacl) as x
                          where o.oid = a.attrelid and x.grantee <> o.relowner),
                       'grants', (select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                                           'grantee', case when x.grantee = 0 then 'public'
                                                           else pg_catalog.pg_get_userbyid(x.grantee)::text end,
                                           'privilege', x.privilege_type, 'isGrantable', x.is_grantable)
                                           order by x.grantee, x.privilege_type), '[]')
                                    from pg_catalog.aclexplode(c.relacl) as x where x.grantee <> c.relowner))
                from pg_catalog.pg_depend as d
                join pg_catalog.pg_class as c on c.oid = d.objid and c.relkind = 'S'
                join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
                join pg_catalog.pg_sequence as s on s.seqrelid = c.oid
               where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 and d.refobjid = a.attrelid and d.refobjsubid = a.attnum and d.deptype in ('a', 'i')
               order by d.deptype desc, c.oid limit 1) as sequence,
             coalesce(a.attoptions, '{}') as options
        from pg_catalog.pg_attribute as a
        join pg_catalog.pg_type as t on t.oid = a.atttypid
        left join pg_catalog.pg_type as b on b.oid = t.typbasetype
       where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
       order by a.attnum`,
    values: [oid],
  });
}

export interface ConvertIndexRow {
  schema: string;
  name: string;
  isUnique: boolean;
  isPrimary: boolean;
  isValid: boolean;
  isReplicaIdentity: boolean;
  /** Names of the plain key columns; expressions are left out. */
  columns: string[];
  includedColumns: string[];
  hasExpressions: boolean;
  isPartial: boolean;
  method: string;
  /** What stands behind "using" in its definition; null when the text has an unexpected beginning. */
  definition: string | null;
  /** The constraint that owns it. */
  constraint: string | null;
  comment: string | null;
}

/** Indexes of a table, the primary key's first. Privilege: none. Locks: ACCESS SHARE for an instant (pg_get_indexdef). */
export async function listConvertIndexes(db: Db, oid: number): Promise<ConvertIndexRow[]> {
  return await db.query<ConvertIndexRow>({
    text: `/* dbops:convert.indexes */
      with listed as (
        select i.*, c.relname, n.nspname, m.amname, pg_catalog.pg_get_indexdef(i.indexrelid) as def,
               'CREATE ' || case when i.indisunique then 'UNIQUE ' else '' end || 'INDEX '
                 || pg_catalog.quote_ident(c.relname) || ' ON ' || case when t.relkind = 'p' then 'ONLY ' else '' end
                 || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.relname)
                 || ' USING ' as head
          from pg_catalog.pg_index as i
          join pg_catalog.pg_class as c on c.oid = i.indexrelid
          join pg_catalog.pg_am as m on m.oid = c.relam
          join pg_catalog.pg_class as t on t.oid = i.indrelid
          join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
         where i.indrelid = $1)
      select l.nspname as schema, l.relname as name, l.indisunique as "isUnique", l.indisprimary as "isPrimary",
             l.indisvalid and l.indisready and l.indislive as "isValid", l.indisreplident as "isReplicaIdentity",
             array(select a.attname::text
                     from pg_catalog.unnest(l.indkey::int2[]) with ordinality as k(number, place)
                     join pg_catalog.pg_attribute as a on a.attrelid = l.indrelid and a.attnum = k.number
                    where k.place <= l.indnkeyatts and k.number > 0 order by k.place) as columns,
             array(select a.attname::text
                     from pg_catalog.unnest(l.indkey::int2[]) with ordinality as k(number, place)
                     join pg_catalog.pg_attribute as a on a.attrelid = l.indrelid and a.attnum = k.number
                    where k.place > l.indnkeyatts order by k.place) as "includedColumns",
             l.indexprs is not null as "hasExpressions", l.indpred is not null as "isPartial", l.amname as method,
             case when pg_catalog.starts_with(l.def, l.head)
                  then pg_catalog.substr(l.def, pg_catalog.length(l.head) + 1) end as definition,
             (select k.conname from pg_catalog.pg_constraint as k
               where k.conindid = l.indexrelid and k.conrelid = l.indrelid and k.contype in ('p', 'u', 'x'))
               as constraint,
             pg_catalog.obj_description(l.indexrelid, 'pg_class') as comment
        from listed as l
       order by l.indisprimary desc, l.relname`,
    values: [oid],
  });
}

export interface ConvertConstraintRow {
  name: string;
  /** c check, f foreign key, p primary key, u unique, x exclusion, n not null (18), t constraint trigger. */
  type: string;
  definition: string;
  isValidated: boolean;
  isNoInherit: boolean;
  isDeferrable: boolean;
  columns: string[];
  comment: string | null;
  /** Quoted name of a foreign key's target. */
  target: string | null;
  isSelfReference: boolean;
  mayReference: boolean;
  /** Whether LOCK TABLE on the target is allowed; else its lock is taken by the DDL itself. */
  mayLockTarget: boolean;
}

/** Constraints of a table. Privilege: none. Locks: none on tables. */
export async function listConvertConstraints(db: Db, oid: number): Promise<ConvertConstraintRow[]> {
  return await db.query<ConvertConstraintRow>({
    text: `/* dbops:convert.constraints */
      select k.conname as name, k.contype::text as type, pg_catalog.pg_get_constraintdef(k.oid) as definition,
             k.convalidated as "isValidated", k.connoinherit as "isNoInherit", k.condeferrable as "isDeferrable",
             array(select a.attname::text
                     from pg_catalog.unnest(k.conkey) with ordinality as x(number, place)
                     join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attnum = x.number
                    order by x.place) as columns,
             pg_catalog.obj_description(k.oid, 'pg_constraint') as comment,
             case when k.contype = 'f' then k.confrelid::pg_catalog.regclass::text end as target,
             k.confrelid = k.conrelid as "isSelfReference",
             case when k.contype = 'f' then pg_catalog.has_table_privilege(k.confrelid, 'references')
                  else true end as "mayReference",
             case when k.contype = 'f'
                  then pg_catalog.has_table_privilege(k.confrelid, 'update, delete, truncate') else true end
               as "mayLockTarget"
        from pg_catalog.pg_constraint as k
       where k.conrelid = $1 and k.conparentid = 0
       order by k.contype, k.conname`,
    values: [oid],
  });
}

export interface IncomingKeyRow {
  /** Quoted name of the table that references. */
  table: string;
  name: string;
  definition: string;
  /** Whether this session may act as the owner of that table. */
  isOwner: boolean;
}

/** Foreign keys of tables, itself included, that reference the table. Privilege: none. Locks: none on tables. */
export async function listIncomingKeys(db: Db, oid: number): Promise<IncomingKeyRow[]> {
  return await db.query<IncomingKeyRow>({
    text: `/* dbops:convert.incoming-keys */
      select k.conrelid::pg_catalog.regclass::text as "table", k.conname as name,
             pg_catalog.pg_get_constraintdef(k.oid) as definition,
             pg_catalog.pg_has_role(c.relowner, 'usage') as "isOwner"
        from pg_catalog.pg_constraint as k
        join pg_catalog.pg_class as c on c.oid = k.conrelid
       where k.contype = 'f' and k.conparentid = 0 and k.confrelid = $1
       order by 1, 2`,
    values: [oid],
  });
}

export interface ConvertTriggerRow {
  name: string;
  definition: string;
  isRow: boolean;
  /** O enabled, D disabled, R replica, A always. */
  enabled: string;
  hasTransitionTables: boolean;
  comment: string | null;
}

/** Triggers that people made, not those of foreign keys and not clones of a parent's. Privilege: none. Locks: none. */
export async function listConvertTriggers(db: Db, oid: number): Promise<ConvertTriggerRow[]> {
  return await db.query<ConvertTriggerRow>({
    text: `/* dbops:convert.triggers */
      select t.tgname as name, pg_catalog.pg_get_triggerdef(t.oid) as definition, t.tgtype & 1 = 1 as "isRow",
             t.tgenabled::text as enabled,
             t.tgoldtable is not null or t.tgnewtable is not null as "hasTransitionTables",
             pg_catalog.obj_description(t.oid, 'pg_trigger') as comment
        from pg_catalog.pg_trigger as t
       where t.tgrelid = $1 and not t.tgisinternal and t.tgparentid = 0
       order by t.tgname`,
    values: [oid],
  });
}

export interface ConvertStatisticsRow {
  schema: string;
  name: string;
  definition: string;
  /** Null for the default. */
  target: number | null;
  comment: string | null;
}

/** Extended statistics of a table. Privilege: none. Locks: none. */
export async function listConvertStatistics(db: Db, oid: number): Promise<ConvertStatisticsRow[]> {
  return await db.query<ConvertStatisticsRow>({
    text: `/* dbops:convert.statistics */
      select n.nspname as schema, s.stxname as name, pg_catalog.pg_get_statisticsobjdef(s.oid) as definition,
             case when s.stxstattarget >= 0 then s.stxstattarget::int4 end as target,
             pg_catalog.obj_description(s.oid, 'pg_statistic_ext') as comment
        from pg_catalog.pg_statistic_ext as s
        join pg_catalog.pg_namespace as n on n.oid = s.stxnamespace
       where s.stxrelid = $1
       order by 1, 2`,
    values: [oid],
  });
}

export interface ConvertPublicationRow {
  name: string;
  /** The table is named in it; else it comes by FOR ALL TABLES or by its schema. */
  isNamed: boolean;
  /** publish_via_partition_root. */
  isViaRoot: boolean;
  isOwner: boolean;
  /** Column list and row filter, 15 and later. */
  columns: string[] | null;
  filter: string | null;
}

/**
 * Publications that the table is in, by name, by schema or because they are for all tables. PostgreSQL 14 (no schemas,
 * lists or filters there) and later. Privilege: none. Locks: none.
 */
export async function listConvertPublications(db: Db, oid: number): Promise<ConvertPublicationRow[]> {
  const modern = db.server.versionNum >= 150_000;
  const detail = modern
    ? `case when r.prattrs is not null then array(
              select a.attname::text from pg_catalog.pg_attribute as a
               where a.attrelid = r.prrelid and a.attnum = any (r.prattrs::int2[]) order by a.attnum) end as columns,
             pg_catalog.pg_get_expr(r.prqual, r.prrelid) as filter`
    : 'null::text[] as columns, null::text as filter';
  const bySchema = modern
    ? `or exists (select from pg_catalog.pg_publication_namespace as s
                   where s.pnpubid = p.oid and s.pnnspid = c.relnamespace)`
    : '';
  return await db.query<ConvertPublicationRow>({
    text: `/* dbops:convert.publications */
      select p.pubname as name, r.oid is not null as "isNamed", p.pubviaroot as "isViaRoot",
             pg_catalog.pg_has_role(p.pubowner, 'usage') as "isOwner", ${detail}
        from pg_catalog.pg_class as c
       cross join pg_catalog.pg_publication as p
        left join pg_catalog.pg_publication_rel as r on r.prpubid = p.oid and r.prrelid = c.oid
       where c.oid = $1 and (r.oid is not null or p.puballtables ${bySchema})
       order by p.pubname`,
    values: [oid],
  });
}
