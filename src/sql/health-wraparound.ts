import type { Query } from '../pg/connection.ts';
import { vacuumLines } from './vacuum-need.ts';

/** How far a database or a table is from having to be frozen. */
interface AgesRow {
  xidAge: number;
  multixactAge: number;
  /** From these ages on autovacuum freezes it, even where it is turned off. */
  freezeMaxAge: number;
  multixactFreezeMaxAge: number;
  /** From these ages on VACUUM leaves everything aside but freezing. */
  failsafeAge: number;
  multixactFailsafeAge: number;
}

export interface DatabaseAgesRow extends AgesRow {
  database: string;
  isThis: boolean;
  allowsConnections: boolean;
  /** That freeze, or were asked for by somebody. */
  vacuums: number;
}

/** vacuum_xid_failsafe_check() of src/backend/access/heap raises both to 105 % of the age at which freezing is forced. */
const failsafe = `greatest(pg_catalog.current_setting('vacuum_failsafe_age')::float8,
                      1.05 * pg_catalog.current_setting('autovacuum_freeze_max_age')::float8) as "failsafeAge",
             greatest(pg_catalog.current_setting('vacuum_multixact_failsafe_age')::float8,
                      1.05 * pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::float8)
               as "multixactFailsafeAge"`;

/**
 * How old the oldest transaction id and multixact id of each database are, templates included, and how many vacuums are at
 * work there. Those that autovacuum started for dead rows alone do not count. PostgreSQL 14 and later.
 * Privilege: pg_read_all_stats, for what vacuums do. Locks: none.
 */
export function databaseAges(): Query {
  return {
    text: `/* dbops:health-wraparound.databases */
      select d.datname as database, d.datname = pg_catalog.current_database() as "isThis",
             d.datallowconn as "allowsConnections",
             pg_catalog.age(d.datfrozenxid)::float8 as "xidAge",
             pg_catalog.mxid_age(d.datminmxid)::float8 as "multixactAge",
             pg_catalog.current_setting('autovacuum_freeze_max_age')::float8 as "freezeMaxAge",
             pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::float8 as "multixactFreezeMaxAge",
             ${failsafe},
             (select pg_catalog.count(*)::int4
                from pg_catalog.pg_stat_progress_vacuum as p
                join pg_catalog.pg_stat_activity as a on a.pid = p.pid
               where p.datid = d.oid
                 and (a.backend_type = 'client backend' or a.query like '%(to prevent wraparound)%')) as vacuums
        from pg_catalog.pg_database as d
       order by d.datname`,
  };
}

export interface TableAgesRow extends AgesRow {
  schema: string;
  table: string;
  isTemporary: boolean;
  isBeingVacuumed: boolean;
  /** All that are as old as was asked for; the rows are the oldest of them. */
  total: number;
}

/**
 * The 20 tables and materialized views of this database that are furthest beyond the age at which they are to be frozen,
 * from a share in percent on; TOAST tables count with their table, and temporary tables hold the database back too.
 * PostgreSQL 14 and later. Privilege: pg_read_all_stats, to see what is being vacuumed. Locks: none.
 */
export function tableAges(versionNum: number, leastPercent: number): Query {
  return {
    text: `/* dbops:health-wraparound.tables */
      with ${vacuumLines(versionNum)},
           old as (
             select l.*, greatest(l.xid_age / l.freeze_max_age, l.multixact_age / l.multixact_freeze_max_age) as share
               from lines as l)
      select l.schema, l.name as "table", l.is_temporary as "isTemporary",
             l.xid_age as "xidAge", l.multixact_age as "multixactAge",
             l.freeze_max_age as "freezeMaxAge", l.multixact_freeze_max_age as "multixactFreezeMaxAge",
             ${failsafe},
             exists (select from pg_catalog.pg_stat_progress_vacuum as p
                      where p.datname = pg_catalog.current_database() and p.relid in (l.oid, l.toast_oid))
               as "isBeingVacuumed",
             (pg_catalog.count(*) over ())::int4 as total
        from old as l
       where l.share * 100 >= $1
       order by l.share desc, l.schema, l.name
       limit 20`,
    values: [leastPercent],
  };
}
