import type { Db } from '../pg/connection.ts';
import { sequenceOptions } from './definition.ts';

/** One object needs another; both by catalog and oid, as in pg_depend. Null: the table itself needs it. */
export interface RequirementEdgeRow {
  fromClass: string | null;
  fromOid: number | null;
  catalog: string;
  oid: number;
  /** For what cannot be made again: as pg_describe_object has it. */
  description: string;
  /** The extension that it belongs to; what it needs in turn is that extension's affair. */
  extension: string | null;
  /** A type that is made of functions in C. */
  isBaseType: boolean;
}

/** The first oid of what people make; what initdb makes has a lower one and is on every server. */
const firstUserOid = 16_384;

/**
 * Everything that a table's columns, defaults, checks, indexes and statistics need, and what that needs in turn: the
 * edges of pg_depend, from the table on. What foreign keys need is left out, what triggers and policies need unless asked
 * for, and so are other tables, but for those whose row type is used. Bodies of functions in quotes are not looked into: pg_depend knows
 * nothing of them. PostgreSQL 14 and later. Privilege: none. Locks: none.
 */
export async function listRequirementEdges(
  db: Db,
  oid: number,
  withTriggers = false,
): Promise<RequirementEdgeRow[]> {
  return await db.query<RequirementEdgeRow>({
    text: `/* dbops:requirements.edges */
      with recursive own(classid, objid) as (
        select 'pg_catalog.pg_class'::pg_catalog.regclass::oid, $1::oid
        union all
        select 'pg_catalog.pg_attrdef'::pg_catalog.regclass, f.oid from pg_catalog.pg_attrdef as f where f.adrelid = $1
        union all
        select 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid from pg_catalog.pg_constraint as k
         where k.conrelid = $1 and k.contype in ('c', 'p', 'u', 'x')
        union all
        select 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid from pg_catalog.pg_index as i
         where i.indrelid = $1
        union all
        select 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid from pg_catalog.pg_statistic_ext as s
         where s.stxrelid = $1
        union all
        select 'pg_catalog.pg_trigger'::pg_catalog.regclass, g.oid from pg_catalog.pg_trigger as g
         where $2 and g.tgrelid = $1 and not g.tgisinternal
        union all
        select 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid from pg_catalog.pg_policy as p
         where $2 and p.polrelid = $1),
      walk(from_class, from_oid, classid, objid) as (
        select null::oid, null::oid, o.classid, o.objid from own as o
        union
        select w.classid, w.objid, e.classid, e.objid
          from walk as w
         cross join lateral (
                select d.refclassid, d.refobjid, false
                  from pg_catalog.pg_depend as d
                 where d.classid = w.classid and d.objid = w.objid and d.deptype in ('n', 'a', 'i')
                   and d.refobjid >= ${String(firstUserOid)}
                union all
                select 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, false
                  from pg_catalog.pg_constraint as k
                 where w.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and k.contypid = w.objid
                union all
                select 'pg_catalog.pg_class'::pg_catalog.regclass, t.typrelid, true
                  from pg_catalog.pg_type as t
                 where w.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and t.oid = w.objid
                   and t.typrelid not in (0, $1)) as e(classid, objid, is_row_type)
         where (e.is_row_type or e.classid <> 'pg_catalog.pg_class'::pg_catalog.regclass
                or exists (select from pg_catalog.pg_class as c where c.oid = e.objid and c.relkind in ('S', 'c')))
           and not exists (select from pg_catalog.pg_depend as x
                            where x.classid = w.classid and x.objid = w.objid and x.deptype = 'e'))
      select case when w.from_class is not null then w.from_class::pg_catalog.regclass::text end as "fromClass",
             w.from_oid::int8::float8 as "fromOid", w.classid::pg_catalog.regclass::text as catalog,
             w.objid::int8::float8 as oid, pg_catalog.pg_describe_object(w.classid, w.objid, 0) as description,
             (select e.extname from pg_catalog.pg_depend as d
                join pg_catalog.pg_extension as e on e.oid = d.refobjid
               where d.classid = w.classid and d.objid = w.objid and d.deptype = 'e'
                 and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) as extension,
             exists (select from pg_catalog.pg_type as t
                      where w.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and t.oid = w.objid
                        and t.typtype = 'b' and t.typcategory <> 'A') as "isBaseType"
        from walk as w
       where (w.classid, w.objid) not in (select o.classid, o.objid from own as o)
       order by 3, 4, 1, 2`,
    values: [oid, withTriggers],
  });
}

const collationOf = (collation: string, own: string) => `case when ${collation} not in (0, ${own}) then
                    (select pg_catalog.format(' collate %I.%I', n.nspname, l.collname)
                       from pg_catalog.pg_collation as l
                       join pg_catalog.pg_namespace as n on n.oid = l.collnamespace where l.oid = ${collation}) end`;

/**
 * What a type is, as text: what follows CREATE TYPE ... AS, or CREATE DOMAIN ... AS. The same expression tells whether a
 * type that is there already is the same; `t` is its row of pg_type. Other kinds of types are null.
 */
export const typeDefinition = `case t.typtype
        when 'e' then pg_catalog.concat('enum (', (
               select pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
                 from pg_catalog.pg_enum as e where e.enumtypid = t.oid), ')')
        when 'c' then pg_catalog.concat('(', (
               select pg_catalog.string_agg(pg_catalog.concat(pg_catalog.quote_ident(a.attname), ' ',
                        pg_catalog.format_type(a.atttypid, a.atttypmod),
                        ${collationOf('a.attcollation', 'b.typcollation')}), ', ' order by a.attnum)
                 from pg_catalog.pg_attribute as a join pg_catalog.pg_type as b on b.oid = a.atttypid
                where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), ')')
        when 'd' then pg_catalog.concat(pg_catalog.format_type(t.typbasetype, t.typtypmod),
               (select ${collationOf('t.typcollation', 'b.typcollation')}
                  from pg_catalog.pg_type as b where b.oid = t.typbasetype),
               ' default ' || pg_catalog.pg_get_expr(t.typdefaultbin, 0), case when t.typnotnull then ' not null' end,
               (select pg_catalog.string_agg(pg_catalog.concat(' constraint ', pg_catalog.quote_ident(k.conname), ' ',
                         pg_catalog.pg_get_constraintdef(k.oid)), '' order by k.conname)
                  from pg_catalog.pg_constraint as k
                 where k.contypid = t.oid and k.contype = 'c' and k.convalidated))
        when 'r' then (
               select pg_catalog.concat('range (subtype = ', pg_catalog.format_type(g.rngsubtype, null),
                        ', subtype_opclass = ', pg_catalog.format('%I.%I', n.nspname, o.opcname),
                        pg_catalog.replace(${collationOf('g.rngcollation', '0')}, ' collate ', ', collation = '),
                        case when g.rngsubdiff::oid <> 0 then ', subtype_diff = ' || g.rngsubdiff::text end,
                        ', multirange_type_name = ', pg_catalog.format('%I.%I', u.nspname, m.typname), ')')
                 from pg_catalog.pg_range as g
                 join pg_catalog.pg_opclass as o on o.oid = g.rngsubopc
                 join pg_catalog.pg_namespace as n on n.oid = o.opcnamespace
                 join pg_catalog.pg_type as m on m.oid = g.rngmultitypid
                 join pg_catalog.pg_namespace as u on u.oid = m.typnamespace
                where g.rngtypid = t.oid) end`;

/** An object that can be made again. */
export interface RequirementRow {
  catalog: string;
  oid: number;
  kind: string;
  /** Quoted. */
  name: string;
  schema: string;
  definition: string | null;
  comment: string | null;
}

/**
 * Types (enums, composites, domains, ranges), functions, collations and sequences by oid, with the text that makes them.
 * Arrays, multiranges, base types and aggregates have no definition. PostgreSQL 14 and later. Privilege: none. Locks:
 * none on tables.
 */
export async function listRequirements(
  db: Db,
  objects: { catalog: string; oid: number }[],
): Promise<RequirementRow[]> {
  const catalogs = objects.map((item) => item.catalog);
  const oids = objects.map((item) => item.oid);
  return await db.query<RequirementRow>({
    text: `/* dbops:requirements.list */
      with wanted as (select * from unnest($1::text[], $2::oid[]) as w(catalog, oid))
      select w.catalog, w.oid::int8::float8 as oid,
             case t.typtype when 'e' then 'enum' when 'c' then 'composite' when 'd' then 'domain' when 'r' then 'range'
                            else 'other' end as kind,
             pg_catalog.format('%I.%I', n.nspname, t.typname) as name, n.nspname as schema,
             ${typeDefinition} as definition, pg_catalog.obj_description(t.oid, 'pg_type') as comment
        from wanted as w
        join pg_catalog.pg_type as t on w.catalog = 'pg_type' and t.oid = w.oid
        join pg_catalog.pg_namespace as n on n.oid = t.typnamespace
      union all
      select w.catalog, w.oid::int8::float8, 'function', p.oid::pg_catalog.regprocedure::text, n.nspname,
             case when p.prokind <> 'a' then pg_catalog.pg_get_functiondef(p.oid) end,
             pg_catalog.obj_description(p.oid, 'pg_proc')
        from wanted as w
        join pg_catalog.pg_proc as p on w.catalog = 'pg_proc' and p.oid = w.oid
        join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
      union all
      select w.catalog, w.oid::int8::float8, 'sequence', pg_catalog.format('%I.%I', n.nspname, c.relname), n.nspname,
             pg_catalog.concat('as ', pg_catalog.format_type(s.seqtypid, null), ' ', ${sequenceOptions}),
             pg_catalog.obj_description(c.oid, 'pg_class')
        from wanted as w
        join pg_catalog.pg_sequence as s on w.catalog = 'pg_class' and s.seqrelid = w.oid
        join pg_catalog.pg_class as c on c.oid = s.seqrelid
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      union all
      select w.catalog, w.oid::int8::float8, 'collation', pg_catalog.format('%I.%I', n.nspname, l.collname), n.nspname,
             pg_catalog.concat('(provider = ', case l.collprovider when 'i' then 'icu' when 'b' then 'builtin'
                                                                   else 'libc' end,
               case when x.locale is not null then ', locale = ' || pg_catalog.quote_literal(x.locale)
                    else pg_catalog.concat(', lc_collate = ', pg_catalog.quote_literal(l.collcollate),
                                           ', lc_ctype = ', pg_catalog.quote_literal(l.collctype)) end,
               ', rules = ' || pg_catalog.quote_literal(x.rules),
               case when not l.collisdeterministic then ', deterministic = false' end, ')'),
             pg_catalog.obj_description(l.oid, 'pg_collation')
        from wanted as w
        join pg_catalog.pg_collation as l on w.catalog = 'pg_collation' and l.oid = w.oid
        join pg_catalog.pg_namespace as n on n.oid = l.collnamespace
       cross join lateral (select pg_catalog.to_jsonb(l) as j) as r
       cross join lateral (
              select coalesce(r.j ->> 'colllocale', r.j ->> 'colliculocale',
                              case when l.collprovider = 'i' then l.collcollate end) as locale,
                     r.j ->> 'collicurules' as rules) as x`,
    values: [catalogs, oids],
  });
}

/** The schemas in which extensions are. Privilege: none. Locks: none. */
export async function listExtensions(db: Db, names: string[]): Promise<{ name: string; schema: string }[]> {
  if (names.length === 0) return [];
  return await db.query({
    text: `/* dbops:requirements.extensions */
      select e.extname as name, n.nspname as schema
        from pg_catalog.pg_extension as e
        join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
       where e.extname = any ($1::name[])
       order by 1`,
    values: [names],
  });
}

/** What types of these names are here already; those that are not there have no row. Privilege: none. Locks: none. */
export async function listTypesNamed(
  db: Db,
  names: string[],
): Promise<{ name: string; definition: string | null }[]> {
  if (names.length === 0) return [];
  return await db.query({
    text: `/* dbops:requirements.types-named */
      select w.name, ${typeDefinition} as definition
        from pg_catalog.unnest($1::text[]) as w(name)
        join pg_catalog.pg_type as t on t.oid = pg_catalog.to_regtype(w.name)`,
    values: [names],
  });
}
