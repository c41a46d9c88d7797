import type { Db } from '../pg/connection.ts';
import { ident, relation, type RelationName } from './quote.ts';

/** A role and what a table's policies let it read. */
export interface PolicySubjectRow extends RelationName {
  /** Null: no role that policies bind may read the table. */
  role: string | null;
  /** SQL of the permissive policies for reading that hold for the role; a row needs one of them. */
  permissive: string[];
  /** ... and all of these. */
  restrictive: string[];
}

/** So many roles of one table are tried. */
const mostRoles = 4;

/**
 * Tables with row level security, each with roles that it binds and that may read it: those that a policy names first. A
 * superuser, a role with BYPASSRLS and, unless it is forced, the owner are not bound. Privilege: none. Locks: none.
 */
export async function listPolicySubjects(db: Db): Promise<PolicySubjectRow[]> {
  return await db.query<PolicySubjectRow>({
    text: `/* dbops:row-security.subjects */
      select n.nspname as schema, c.relname as name, r.rolname as role,
             coalesce(p.permissive, '{}') as permissive, coalesce(p.restrictive, '{}') as restrictive
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join lateral (
          select a.oid, a.rolname from pg_catalog.pg_roles as a
           where not a.rolsuper and not a.rolbypassrls and a.rolname !~ '^pg_'
             and (c.relforcerowsecurity or not pg_catalog.pg_has_role(a.oid, c.relowner, 'usage'))
             and pg_catalog.has_schema_privilege(a.oid, n.oid, 'usage')
             and pg_catalog.has_table_privilege(a.oid, c.oid, 'select')
           order by (select pg_catalog.count(*) from pg_catalog.pg_policy as o
                      where o.polrelid = c.oid and a.oid = any (o.polroles)) desc, a.rolname
           limit ${String(mostRoles)}) as r on true
        left join lateral (
          select pg_catalog.array_agg(q.expression) filter (where q.polpermissive) as permissive,
                 pg_catalog.array_agg(q.expression) filter (where not q.polpermissive) as restrictive
            from (select o.polpermissive, coalesce(pg_catalog.pg_get_expr(o.polqual, o.polrelid), 'true') as expression
                    from pg_catalog.pg_policy as o
                   where o.polrelid = c.oid and o.polcmd in ('r', '*')
                     and exists (select from pg_catalog.unnest(o.polroles) as w(oid)
                                  where w.oid = 0 or pg_catalog.pg_has_role(r.oid, w.oid, 'usage'))) as q) as p on true
       where c.relrowsecurity and c.relkind in ('r', 'p') and n.nspname !~ '^pg_'
       order by 1, 2, 3`,
  });
}

/** How many rows a role sees, and how many its policies let through. */
export interface PolicyCount {
  isActive: boolean;
  seen: bigint;
  allowed: bigint;
}

/**
 * Counts as the role, once with row level security and once without it but with the policies as a condition; everything is
 * rolled back. Only for a copy that nobody else works on. Privilege: superuser. Locks: ACCESS EXCLUSIVE on the table.
 */
export async function countAsRole(
  db: Db,
  subject: PolicySubjectRow & { role: string },
): Promise<PolicyCount> {
  const table = relation(subject);
  const condition = [
    subject.permissive.length === 0 ? 'false' : subject.permissive.map((item) => `(${item})`).join(' or '),
    ...subject.restrictive,
  ]
    .map((item) => `(${item})`)
    .join(' and ');
  await db.execute('begin');
  try {
    await db.execute(`set local row_security = on; set local role ${ident(subject.role)}`);
    const [seen] = await db.query<{ isActive: boolean; rows: bigint }>({
      text: `/* dbops:row-security.seen */
        select pg_catalog.row_security_active($1) as "isActive", pg_catalog.count(*) as rows from ${table}`,
      values: [table],
    });
    await db.execute(`reset role; alter table ${table} disable row level security`);
    await db.execute(`set local role ${ident(subject.role)}`);
    const [allowed] = await db.query<{ rows: bigint }>({
      text: `/* dbops:row-security.allowed */ select pg_catalog.count(*) as rows from ${table} where ${condition}`,
    });
    return {
      isActive: seen?.isActive === true,
      seen: BigInt(seen?.rows ?? 0),
      allowed: BigInt(allowed?.rows ?? 0),
    };
  } finally {
    await db.execute('rollback');
  }
}
