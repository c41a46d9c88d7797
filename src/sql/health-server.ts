import type { Query } from '../pg/connection.ts';

export interface SettingRow {
  name: string;
  /** With its unit, as SHOW prints it. */
  value: string;
}

/**
 * Settings that were changed and take a restart. PostgreSQL 14 and later. Privilege: pg_read_all_settings, without which
 * some settings are not there at all. Locks: none.
 */
export function pendingSettings(): Query {
  return {
    text: `/* dbops:health.pending-settings */
      select s.name, pg_catalog.current_setting(s.name) as value
        from pg_catalog.pg_settings as s
       where s.pending_restart
       order by s.name`,
  };
}

/** Settings of these names that are off. PostgreSQL 14 and later. Privilege: none for those of everybody. Locks: none. */
export function settingsThatAreOff(names: string[]): Query {
  return {
    text: `/* dbops:health.settings-off */
      select s.name, s.setting as value
        from pg_catalog.pg_settings as s
       where s.name = any ($1::text[]) and s.setting = 'off'
       order by pg_catalog.array_position($1::text[], s.name)`,
    values: [names],
  };
}

export interface ExtensionRow {
  name: string;
  installed: string;
  /** What CREATE EXTENSION would install; null where its files are gone from the server. */
  available: string | null;
  /** The files of the server lead from the one to the other. */
  canUpdate: boolean;
}

/**
 * Extensions of this database that are not as the files of the server are. PostgreSQL 14 and later. Privilege: none.
 * Locks: none beyond those on catalogs.
 */
export function outdatedExtensions(): Query {
  return {
    text: `/* dbops:health.extensions */
      select e.extname::text as name, e.extversion as installed, v.default_version as available,
             v.default_version is not null
             and exists (select from pg_catalog.pg_extension_update_paths(e.extname) as p
                          where p.source = e.extversion and p.target = v.default_version and p.path is not null)
               as "canUpdate"
        from pg_catalog.pg_extension as e
        left join pg_catalog.pg_available_extensions as v on v.name = e.extname
       where v.default_version is distinct from e.extversion
       order by e.extname`,
  };
}

export interface ChecksumRow {
  /** Null for what all databases share. */
  database: string | null;
  /** Null where data checksums are off. */
  failures: number | null;
  lastFailure: Date | null;
}

/**
 * Blocks of every database whose checksum did not fit. PostgreSQL 14 and later. Privilege: none. Locks: none.
 */
export function checksumFailures(): Query {
  return {
    text: `/* dbops:health.checksums */
      select d.datname::text as database, d.checksum_failures::float8 as failures,
             d.checksum_last_failure as "lastFailure"
        from pg_catalog.pg_stat_database as d
       order by d.datname nulls first`,
  };
}
