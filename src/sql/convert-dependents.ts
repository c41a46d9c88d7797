import type { Db } from '../pg/connection.ts';

/** A view that reads the table itself (not through another view). */
export interface DependentViewRow {
  schema: string;
  name: string;
  definition: string;
  options: string[];
  owner: string;
  isOwner: boolean;
  /** It groups by the primary key alone, so it depends on that constraint. */
  usesPrimaryKey: boolean;
}

/** What follows the old table by its oid and cannot be given the new one. */
export interface DependentObjectRow {
  kind: 'materialized view' | 'rule' | 'function' | 'policy' | 'other';
  /** As pg_describe_object has it. */
  description: string;
  /** Quoted name by which the operator can name it. */
  identity: string;
}

/**
 * Everything whose definition refers to the table by oid: the relation, its row type, its constraints. Own parts of the
 * table (indexes, triggers, defaults, policies, sequences, statistics) are left out.
 */
const dependents = `
      with target as (
        select c.oid, c.reltype, t.typarray from pg_catalog.pg_class as c
          join pg_catalog.pg_type as t on t.oid = c.reltype where c.oid = $1),
      found as (
        select distinct d.classid, d.objid, d.refclassid, d.refobjid
          from target
          join pg_catalog.pg_depend as d
            on (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = target.oid)
            or (d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
                and d.refobjid in (target.reltype, target.typarray))
            or (d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                and d.refobjid in (select k.oid from pg_catalog.pg_constraint as k where k.conrelid = target.oid))
         where d.deptype in ('n', 'a'))`;

/** Views that read the table. Privilege: none. Locks: ACCESS SHARE for an instant (pg_get_viewdef). */
export async function listDependentViews(db: Db, oid: number): Promise<DependentViewRow[]> {
  return await db.query<DependentViewRow>({
    text: `/* dbops:convert.views */${dependents}
      select n.nspname as schema, v.relname as name,
             pg_catalog.rtrim(pg_catalog.pg_get_viewdef(v.oid), '; ') as definition,
             coalesce(v.reloptions, '{}') as options,
             pg_catalog.pg_get_userbyid(v.relowner) as owner,
             pg_catalog.pg_has_role(v.relowner, 'usage') as "isOwner",
             pg_catalog.bool_or(f.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass) as "usesPrimaryKey"
        from found as f
        join pg_catalog.pg_rewrite as r
          on f.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and r.oid = f.objid and r.rulename = '_RETURN'
        join pg_catalog.pg_class as v on v.oid = r.ev_class and v.relkind = 'v'
        join pg_catalog.pg_namespace as n on n.oid = v.relnamespace
       group by n.nspname, v.oid, v.relname, v.reloptions, v.relowner
       order by 1, 2`,
    values: [oid],
  });
}

/**
 * Materialized views, rules, functions with a parsed body, policies of other tables and users of the row type. Foreign
 * keys are another question (listIncomingKeys). Privilege: none. Locks: none.
 */
export async function listDependentObjects(db: Db, oid: number): Promise<DependentObjectRow[]> {
  return await db.query<DependentObjectRow>({
    text: `/* dbops:convert.dependents */${dependents},
      classified as (
        select case when v.relkind = 'm' then 'materialized view'
                    when r.oid is not null then 'rule'
                    when f.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass then 'function'
                    when p.oid is not null then 'policy'
                    else 'other' end as kind,
               case when r.oid is not null and r.rulename = '_RETURN'
                    then 'pg_catalog.pg_class'::pg_catalog.regclass else f.classid end as classid,
               case when r.oid is not null and r.rulename = '_RETURN' then r.ev_class else f.objid end as objid
          from target
         cross join found as f
          left join pg_catalog.pg_rewrite as r
            on f.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and r.oid = f.objid
          left join pg_catalog.pg_class as v on v.oid = r.ev_class
          left join pg_catalog.pg_policy as p
            on f.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass and p.oid = f.objid
          left join pg_catalog.pg_constraint as k
            on f.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and k.oid = f.objid
          left join pg_catalog.pg_trigger as t
            on f.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass and t.oid = f.objid
          left join pg_catalog.pg_attrdef as a
            on f.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and a.oid = f.objid
          left join pg_catalog.pg_class as c
            on f.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = f.objid
          left join pg_catalog.pg_index as i on i.indexrelid = c.oid
         where f.classid not in ('pg_catalog.pg_statistic_ext'::pg_catalog.regclass,
                                 'pg_catalog.pg_publication_rel'::pg_catalog.regclass)
           and not (r.oid is not null and r.rulename = '_RETURN' and v.relkind = 'v'
                    and f.refclassid <> 'pg_catalog.pg_type'::pg_catalog.regclass)
           and (p.oid is null or p.polrelid <> target.oid)
           and (k.oid is null or (k.conrelid <> target.oid and k.contype <> 'f'))
           and (t.oid is null or (t.tgrelid <> target.oid and not t.tgisinternal))
           and (a.oid is null or a.adrelid <> target.oid)
           and (c.oid is null or (c.oid <> target.oid and i.indrelid is distinct from target.oid and c.relkind <> 'S'
                and not exists (select from pg_catalog.pg_inherits as h
                                 where h.inhrelid = c.oid and h.inhparent = target.oid))))
      select distinct kind, pg_catalog.pg_describe_object(classid, objid, 0) as description,
             (pg_catalog.pg_identify_object(classid, objid, 0)).identity as identity
        from classified
       order by 1, 2`,
    values: [oid],
  });
}

/**
 * An SQL expression: a hash over the definition of a table and of the views that read it, leaving out the index and the
 * constraint that a convert itself adds. Two tables of one oid with one hash are the same for a plan.
 */
export function fingerprintSql(oid: number, ownIndex: string, ownConstraint: string): string {
  const id = `${String(oid)}::pg_catalog.oid`;
  return `pg_catalog.md5(pg_catalog.concat_ws('|',
    (select pg_catalog.concat_ws(' ', c.relnamespace, c.relname, c.relowner, c.relacl, c.relrowsecurity,
              c.relforcerowsecurity, c.relreplident, c.reloptions, pg_catalog.obj_description(c.oid, 'pg_class'))
       from pg_catalog.pg_class as c where c.oid = ${id}),
    (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull,
              a.attidentity, a.attgenerated, a.attcollation, a.attacl, a.attoptions,
              pg_catalog.pg_get_expr(f.adbin, f.adrelid)), ',' order by a.attnum)
       from pg_catalog.pg_attribute as a
       left join pg_catalog.pg_attrdef as f on f.adrelid = a.attrelid and f.adnum = a.attnum
      where a.attrelid = ${id} and a.attnum > 0),
    (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', k.conname, k.conrelid, k.convalidated,
              pg_catalog.pg_get_constraintdef(k.oid)), ',' order by k.oid)
       from pg_catalog.pg_constraint as k
      where (k.conrelid = ${id} and k.conname <> ${ownConstraint}) or k.confrelid = ${id}),
    (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid)),
              ',' order by i.indexrelid)
       from pg_catalog.pg_index as i join pg_catalog.pg_class as c on c.oid = i.indexrelid
      where i.indrelid = ${id} and c.relname <> ${ownIndex}),
    (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', t.tgenabled, pg_catalog.pg_get_triggerdef(t.oid)),
              ',' order by t.oid)
       from pg_catalog.pg_trigger as t where t.tgrelid = ${id} and not t.tgisinternal),
    (select pg_catalog.string_agg(pg_catalog.concat_ws(' ', p.polname, p.polcmd, p.polpermissive, p.polroles,
              pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)),
              ',' order by p.oid)
       from pg_catalog.pg_policy as p where p.polrelid = ${id}),
    (select pg_catalog.string_agg(pg_catalog.pg_get_statisticsobjdef(s.oid), ',' order by s.oid)
       from pg_catalog.pg_statistic_ext as s where s.stxrelid = ${id}),
    (select pg_catalog.string_agg(distinct pg_catalog.concat_ws(' ', r.ev_class, v.reloptions,
              pg_catalog.pg_get_ruledef(r.oid)), ',')
       from pg_catalog.pg_depend as d
       join pg_catalog.pg_rewrite as r on r.oid = d.objid
       join pg_catalog.pg_class as v on v.oid = r.ev_class
      where d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = ${id})))`;
}

/** The fingerprint of a table as it stands. Privilege: none. Locks: ACCESS SHARE for an instant. */
export async function readFingerprint(db: Db, expression: string): Promise<string> {
  const [row] = await db.query<{ fingerprint: string }>({
    text: `/* dbops:convert.fingerprint */ select ${expression} as fingerprint`,
  });
  if (row === undefined) throw new Error('no fingerprint came back');
  return row.fingerprint;
}

/** Whether a row fulfils a condition made by the caller from quoted parts. Privilege: SELECT. Locks: ACCESS SHARE. */
export async function existsWhere(db: Db, quotedTable: string, condition: string): Promise<boolean> {
  const [row] = await db.query<{ found: boolean }>({
    text: `/* dbops:convert.exists */ select exists (select from only ${quotedTable} where ${condition}) as found`,
  });
  return row?.found === true;
}
