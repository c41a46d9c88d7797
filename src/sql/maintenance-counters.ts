import type { Db } from '../pg/connection.ts';

/** For whom track_counts is off: null stands for all. Both null and not by a setting of roles: the server's own. */
export interface UncountedRow {
  isServer: boolean;
  role: string | null;
  database: string | null;
}

/**
 * Where track_counts is off for sessions of this database: by the server's configuration, or by settings of roles and
 * databases. What such a session changes is counted nowhere. PostgreSQL 14 and later. Privilege: none. Locks: none.
 */
export async function listUncounted(db: Db): Promise<UncountedRow[]> {
  return await db.query<UncountedRow>({
    text: `/* dbops:maintenance-counters.off */
      select true as "isServer", null::text as role, null::text as database
        from pg_catalog.pg_settings as s
       where s.name = 'track_counts' and s.setting = 'off'
         and s.source not in ('global', 'database', 'user', 'database user', 'client', 'session')
       union all
      select false, r.rolname::text, d.datname::text
        from pg_catalog.pg_db_role_setting as s
        left join pg_catalog.pg_roles as r on r.oid = s.setrole
        left join pg_catalog.pg_database as d on d.oid = s.setdatabase
       where (s.setdatabase = 0 or d.datname = pg_catalog.current_database())
         and exists (select from unnest(s.setconfig) as c(written)
                      where pg_catalog.split_part(c.written, '=', 1) = 'track_counts'
                        and not pg_catalog.split_part(c.written, '=', 2)::boolean)
       order by 1 desc, 2, 3`,
  });
}
