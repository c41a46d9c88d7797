import type { Db } from '../pg/connection.ts';

/** A setting as the server has it, in its base unit. */
export interface TunedSettingRow {
  name: string;
  /** Memory in bytes, others as they are. */
  value: number;
  /** As SHOW prints it. */
  shown: string;
  /** It takes a restart. */
  needsRestart: boolean;
  /** Where it comes from: "default", "configuration file", "command line" ... */
  source: string;
  /** The most that this server takes; 0 where the platform has no such thing. */
  most: number;
}

/** Numeric settings by name. PostgreSQL 14 and later. Privilege: none. Locks: none. */
export async function listTunedSettings(db: Db, names: string[]): Promise<TunedSettingRow[]> {
  return await db.query<TunedSettingRow>({
    text: `/* dbops:tune.settings */
      select s.name, pg_catalog.current_setting(s.name) as shown, s.context = 'postmaster' as "needsRestart", s.source,
             s.setting::float8 * u.bytes as value, s.max_val::float8 * u.bytes as most
        from pg_catalog.pg_settings as s
       cross join lateral (
             select case s.unit when '8kB' then 8192 when 'kB' then 1024 when 'MB' then 1048576 when 'B' then 1
                                else 1 end as bytes) as u
       where s.name = any ($1) and s.vartype in ('integer', 'real')`,
    values: [names],
  });
}
