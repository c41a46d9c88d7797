import type { Db } from '../pg/connection.ts';

/** What a table, with its TOAST table, gives VACUUM and ANALYZE to do. */
export interface VacuumNeedRow {
  oid: number;
  schema: string;
  table: string;
  /** r: table, m: materialized view, p: partitioned table. */
  kind: 'r' | 'm' | 'p';
  /** Counted since the statistics were lost or reset; 0 until then. */
  deadRows: number;
  /** Of a partitioned table those of its partitions. */
  liveRows: number;
  /** Whether it was vacuumed or analyzed since it was made: what VACUUM and ANALYZE wrote is in the catalog. */
  isEstimated: boolean;
  /** Of all levels below it, those that hold rows. */
  partitions: number;
  /** Beyond so many dead rows autovacuum vacuums it. Null for partitioned tables, which hold no rows. */
  vacuumTrigger: number | null;
  insertsSinceVacuum: number;
  /** Null where autovacuum does not vacuum after inserts alone. */
  insertTrigger: number | null;
  /** Of its TOAST table, which has a line of its own. Null where it has none. */
  toastDeadRows: number | null;
  toastVacuumTrigger: number | null;
  /** Of a partitioned table what is known of its partitions: see branches(). */
  modifiedSinceAnalyze: number;
  /** Autovacuum never analyzes partitioned tables: theirs is where it would come to a plain one. */
  analyzeTrigger: number | null;
  /** The older of the table's and its TOAST table's. Null for partitioned tables. */
  xidAge: number | null;
  multixactAge: number | null;
  /** From these ages on autovacuum vacuums it, even where it is turned off. */
  freezeMaxAge: number;
  multixactFreezeMaxAge: number;
  /** Null where this role may not see the statistics of its columns. For partitioned tables those of the whole tree. */
  hasStatistics: boolean | null;
  /** Whether what was counted of it is lost, as by a crash or a reset: then what is above says too little. */
  isLost: boolean;
  isAutovacuumOff: boolean;
  /** With TOAST and without indexes, as of its last VACUUM or ANALYZE. */
  sizeBytes: number;
  lastVacuum: Date | null;
  lastAnalyze: Date | null;
  isOwned: boolean;
  /** Whether VACUUM and ANALYZE of this session do not skip it. */
  mayMaintain: boolean;
}

/**
 * What each table of this database gives VACUUM and ANALYZE to do, catalogs included: freezing first, then the furthest
 * beyond its own line. Leaves out temporary tables. With a share of the age at which autovacuum freezes only what may need
 * something: what is as old, what is beyond a line, what has no statistics or lost its counters, and partitioned tables; of ten thousand tables
 * most need nothing, and to read them all takes as long as to look at them. PostgreSQL 14 and later. Privilege: none, save
 * SELECT on a table to know whether it has statistics. Locks: none beyond those on catalogs.
 */
export async function listVacuumNeed(db: Db, leastFreezeShare: number | null): Promise<VacuumNeedRow[]> {
  const { versionNum } = db.server;
  return await db.query<VacuumNeedRow>({
    timeoutMs: 30_000,
    values: [leastFreezeShare],
    text: `/* dbops:vacuum-need.list */
      with recursive ${vacuumLines(versionNum)},
           ${branches(versionNum)},
           described as materialized (${describedRelations(db.server.isSuperuser)}),
           needs as (
             select l.*,
                    greatest(l.xid_age / l.freeze_max_age, l.multixact_age / l.multixact_freeze_max_age) as freeze_share,
                    greatest(l.dead / nullif(l.vacuum_trigger, 0), l.inserted / nullif(l.insert_trigger, 0),
                             l.toast_dead / nullif(l.toast_vacuum_trigger, 0),
                             l.modified / nullif(l.analyze_trigger, 0)) as line_share,
                    ${isLost} as is_lost
               from lines as l
              where not l.is_temporary)
      select l.oid::int8::float8 as oid, l.schema, l.name as "table", l.kind,
             l.dead as "deadRows", case when l.kind = 'p' then coalesce(b.live, 0) else l.live end as "liveRows",
             l.reltuples >= 0 as "isEstimated", coalesce(b.partitions, 0)::float8 as partitions, l.vacuum_trigger as "vacuumTrigger",
             l.inserted as "insertsSinceVacuum", l.insert_trigger as "insertTrigger",
             l.toast_dead as "toastDeadRows", l.toast_vacuum_trigger as "toastVacuumTrigger",
             case when l.kind = 'p' then coalesce(greatest(b.modified + b.analyzed_since, pg_catalog.abs(b.live - l.reltuples)), 0)
                  else l.modified end as "modifiedSinceAnalyze",
             coalesce(l.analyze_trigger,
                      (select s.analyze_threshold + s.analyze_scale_factor * greatest(l.reltuples, 0)
                         from server as s)) as "analyzeTrigger",
             l.xid_age as "xidAge", l.multixact_age as "multixactAge",
             l.freeze_max_age as "freezeMaxAge", l.multixact_freeze_max_age as "multixactFreezeMaxAge",
             case when case when l.kind = 'p' then d.of_tree else d.of_itself end then true
                  when ${mayReadStatistics('l.oid')} then false end as "hasStatistics",
             l.is_lost as "isLost", l.is_autovacuum_off as "isAutovacuumOff", l.size_bytes as "sizeBytes",
             greatest(pg_catalog.pg_stat_get_last_vacuum_time(l.oid),
                      pg_catalog.pg_stat_get_last_autovacuum_time(l.oid)) as "lastVacuum",
             greatest(pg_catalog.pg_stat_get_last_analyze_time(l.oid),
                      pg_catalog.pg_stat_get_last_autoanalyze_time(l.oid)) as "lastAnalyze",
             pg_catalog.pg_has_role(l.owner, 'usage') as "isOwned",
             ${mayMaintain(versionNum)} as "mayMaintain"
        from needs as l
        left join described as d on d.schema = l.schema and d.name = l.name
        left join branches as b on b.oid = l.oid
       where $1::float8 is null or l.kind = 'p' or l.freeze_share >= $1 or d.of_itself is not true or l.is_lost
          or l.dead > l.vacuum_trigger or l.inserted > l.insert_trigger
          or l.toast_dead > l.toast_vacuum_trigger or l.modified > l.analyze_trigger
       order by l.freeze_share >= 1 desc nulls last,
                case when l.freeze_share >= 1 then l.freeze_share end desc nulls last,
                l.line_share desc nulls last, l.schema, l.name`,
  });
}

/**
 * What is known of the rows below each partitioned table. Nobody counts what changed in them since the table itself was
 * analyzed: what changed in each since it was analyzed, and all rows of those that were analyzed after the table, since much
 * of these had changed. Before PostgreSQL 18 ANALYZE of the table analyzes its partitions right after it, so that there
 * only what autovacuum did tells something.
 */
function branches(versionNum: number): string {
  const lastAnalyze = (oid: string) => `greatest(pg_catalog.pg_stat_get_last_analyze_time(${oid}),
                               pg_catalog.pg_stat_get_last_autoanalyze_time(${oid}))`;
  const analyzed =
    versionNum < 180_000 ? 'pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)' : lastAnalyze('c.oid');
  return `below(root, oid) as (
             select i.inhparent, i.inhrelid
               from pg_catalog.pg_inherits as i
               join pg_catalog.pg_class as p on p.oid = i.inhparent and p.relkind = 'p'
              union
             select b.root, i.inhrelid from below as b join pg_catalog.pg_inherits as i on i.inhparent = b.oid),
           branches as materialized (
             select b.root as oid, pg_catalog.count(*) as partitions, pg_catalog.sum(r.live) as live,
                    pg_catalog.sum(pg_catalog.pg_stat_get_mod_since_analyze(c.oid))::float8 as modified,
                    coalesce(pg_catalog.sum(r.live) filter (
                      where ${analyzed} > ${lastAnalyze('b.root')}), 0) as analyzed_since
               from below as b
               join pg_catalog.pg_class as c on c.oid = b.oid and c.relkind in ('r', 'f')
              cross join lateral (
                     select greatest(pg_catalog.pg_stat_get_live_tuples(c.oid), c.reltuples, 0)::float8 as live) as r
              group by b.root)`;
}

/**
 * Whether what was counted of a table is lost: only VACUUM, ANALYZE and CREATE INDEX tell the catalog of rows, the first two
 * leave their time, and rows that an index was made on were inserted before it. A tenth is left to estimates that were
 * restored with a table. Where nothing is counted at all, nothing is lost either.
 */
const isLost = `(l.kind <> 'p' and l.reltuples > 0
                     and pg_catalog.pg_stat_get_tuples_inserted(l.oid) < 0.9 * l.reltuples
                     and pg_catalog.current_setting('track_counts')::boolean
                     and coalesce(pg_catalog.pg_stat_get_last_vacuum_time(l.oid),
                                  pg_catalog.pg_stat_get_last_autovacuum_time(l.oid),
                                  pg_catalog.pg_stat_get_last_analyze_time(l.oid),
                                  pg_catalog.pg_stat_get_last_autoanalyze_time(l.oid)) is null)`;

/** Whether this role sees all column statistics of a relation in pg_stats, which leaves out silently what it may not. */
export function mayReadStatistics(oid: string): string {
  return `(pg_catalog.has_table_privilege(${oid}, 'select') and not pg_catalog.row_security_active(${oid}))`;
}

/**
 * Which relations have column statistics, of the relation itself and of the tree below it. pg_stats asks for privileges
 * column by column, which takes a second for 50,000 columns; whoever may read all goes to the table behind it.
 */
export function describedRelations(mayReadAll: boolean): string {
  return mayReadAll
    ? `
             select n.nspname as schema, c.relname as name, s.of_tree, s.of_itself
               from (select s.starelid, pg_catalog.bool_or(s.stainherit) as of_tree,
                            pg_catalog.bool_or(not s.stainherit) as of_itself
                       from pg_catalog.pg_statistic as s group by s.starelid) as s
               join pg_catalog.pg_class as c on c.oid = s.starelid
               join pg_catalog.pg_namespace as n on n.oid = c.relnamespace`
    : `
             select s.schemaname as schema, s.tablename as name,
                    pg_catalog.bool_or(s.inherited) as of_tree, pg_catalog.bool_or(not s.inherited) as of_itself
               from pg_catalog.pg_stats as s
              group by s.schemaname, s.tablename`;
}

/** As vacuum_is_permitted_for_relation() of src/backend/commands/vacuum.c has it. */
function mayMaintain(versionNum: number): string {
  const ofDatabase = `not l.is_shared and (select pg_catalog.pg_has_role(d.datdba, 'usage') from pg_catalog.pg_database as d
                                   where d.datname = pg_catalog.current_database())`;
  const ofTable =
    versionNum >= 170_000
      ? `pg_catalog.has_table_privilege(l.oid, 'maintain')`
      : `pg_catalog.pg_has_role(l.owner, 'usage')`;
  return `(${ofTable} or (${ofDatabase}))`;
}

/** Storage parameters that move the lines of autovacuum. */
const parameters = [
  'vacuum_threshold',
  'vacuum_scale_factor',
  'vacuum_insert_threshold',
  'vacuum_insert_scale_factor',
  'analyze_threshold',
  'analyze_scale_factor',
  'freeze_max_age',
  'multixact_freeze_max_age',
];

/**
 * The common table expressions up to `lines`: tables, materialized views and partitioned tables with the lines beyond
 * which autovacuum comes (relation_needs_vacanalyze() of src/backend/postmaster/autovacuum.c), those of their TOAST tables
 * beside them. With temporary tables. A table that was never vacuumed or analyzed counts as having no rows, as autovacuum has it.
 */
export function vacuumLines(versionNum: number): string {
  // Until 18 the greatest trigger had no bound of its own.
  const names = versionNum >= 180_000 ? [...parameters, 'vacuum_max_threshold'] : parameters;
  const number = (name: string) => `pg_catalog.current_setting('autovacuum_${name}')::float8 as ${name}`;
  const option = (name: string) =>
    `(pg_catalog.max(o.option_value) filter (where o.option_name = 'autovacuum_${name}'))::float8 as ${name}`;
  const separator = ',\n                    ';
  return `server as materialized (
             select pg_catalog.current_setting('block_size')::float8 as block_size,
                    ${names.map(number).join(separator)}),
           options as materialized (
             select c.oid,
                    (pg_catalog.max(o.option_value) filter (where o.option_name = 'autovacuum_enabled'))::boolean as enabled,
                    ${names.map(option).join(separator)}
               from pg_catalog.pg_class as c, pg_catalog.pg_options_to_table(c.reloptions) as o
              where c.relkind in ('r', 'm', 't') and c.reloptions is not null
              group by c.oid),
           lines as (
             select c.oid, n.nspname as schema, c.relname as name, c.relkind::text as kind, c.relowner as owner,
                    c.relisshared as is_shared, c.relpersistence = 't' as is_temporary, c.reltuples,
                    nullif(c.reltoastrelid, 0) as toast_oid,
                    pg_catalog.pg_stat_get_dead_tuples(c.oid)::float8 as dead,
                    pg_catalog.pg_stat_get_live_tuples(c.oid)::float8 as live,
                    pg_catalog.pg_stat_get_ins_since_vacuum(c.oid)::float8 as inserted,
                    pg_catalog.pg_stat_get_mod_since_analyze(c.oid)::float8 as modified,
                    case when c.relkind <> 'p' then ${vacuumLine('c', 'o', versionNum)} end as vacuum_trigger,
                    case when c.relkind <> 'p' then ${insertLine('c', 'o', versionNum)} end as insert_trigger,
                    case when c.relkind <> 'p'
                         then ${parameter('o', 'analyze_threshold')}
                              + ${parameter('o', 'analyze_scale_factor')} * greatest(c.reltuples, 0) end as analyze_trigger,
                    case when t.oid is not null
                         then pg_catalog.pg_stat_get_dead_tuples(t.oid)::float8 end as toast_dead,
                    case when t.oid is not null then ${vacuumLine('t', 'u', versionNum)} end as toast_vacuum_trigger,
                    greatest(case when c.relfrozenxid <> '0' then pg_catalog.age(c.relfrozenxid) end,
                             case when t.relfrozenxid <> '0' then pg_catalog.age(t.relfrozenxid) end)::float8 as xid_age,
                    greatest(case when c.relminmxid <> '0' then pg_catalog.mxid_age(c.relminmxid) end,
                             case when t.relminmxid <> '0' then pg_catalog.mxid_age(t.relminmxid) end)::float8 as multixact_age,
                    least(o.freeze_max_age, s.freeze_max_age) as freeze_max_age,
                    least(o.multixact_freeze_max_age, s.multixact_freeze_max_age) as multixact_freeze_max_age,
                    coalesce(not o.enabled, false) as is_autovacuum_off,
                    (c.relpages + coalesce(t.relpages, 0)) * s.block_size as size_bytes
               from server as s, pg_catalog.pg_class as c
               join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
               left join options as o on o.oid = c.oid
               left join pg_catalog.pg_class as t on t.oid = c.reltoastrelid and c.reltoastrelid <> 0
               -- A TOAST table without parameters of its own goes by those of its table.
               left join options as u on u.oid = case when t.reloptions is null then c.oid else t.oid end
              where c.relkind in ('r', 'm', 'p'))`;
}

/** A parameter of a relation, else of the server. A negative one of a relation stands for that of the server. */
function parameter(options: string, name: string): string {
  return `coalesce(case when ${options}.${name} >= 0 then ${options}.${name} end, s.${name})`;
}

function vacuumLine(relation: string, options: string, versionNum: number): string {
  const line = `${parameter(options, 'vacuum_threshold')}
                              + ${parameter(options, 'vacuum_scale_factor')} * greatest(${relation}.reltuples, 0)`;
  if (versionNum < 180_000) return line;
  // -1 turns the bound off, for one table too.
  const most = `coalesce(${options}.vacuum_max_threshold, s.vacuum_max_threshold)`;
  return `least(${line}, case when ${most} >= 0 then ${most} end)`;
}

function insertLine(relation: string, options: string, versionNum: number): string {
  // -1 turns it off, for one table too.
  const threshold = `coalesce(${options}.vacuum_insert_threshold, s.vacuum_insert_threshold)`;
  const rows = `greatest(${relation}.reltuples, 0)`;
  // From 18 on only pages that are not frozen yet count.
  const thawed =
    versionNum < 180_000
      ? ''
      : ` * case when ${relation}.relpages > 0 and ${relation}.relallfrozen > 0
                                then 1 - least(1, ${relation}.relallfrozen::float8 / ${relation}.relpages) else 1 end`;
  return `case when ${threshold} >= 0
                              then ${threshold} + ${parameter(options, 'vacuum_insert_scale_factor')} * ${rows}${thawed} end`;
}
