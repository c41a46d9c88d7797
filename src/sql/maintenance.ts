import type { Db } from '../pg/connection.ts';
import { ident, relation, type RelationName } from './quote.ts';

/** What a table or an index looks like before and after its maintenance. */
export interface FiguresRow {
  schema: string;
  name: string;
  /** Of a table with indexes and TOAST; from the catalog where it is locked. Null for partitioned tables. */
  sizeBytes: number | null;
  /** Null for what has no rows of its own. */
  deadRows: number | null;
  xidAge: number | null;
  /** How often it was vacuumed and analyzed since the statistics began, by whomever. */
  maintained: number;
}

/**
 * Sizes, dead rows and ages of tables, materialized views and indexes by name, since a rebuild gives an index another oid;
 * those that are gone have no row. A size is measured only where nobody holds or waits for ACCESS EXCLUSIVE on the table,
 * its TOAST table or one of its indexes: the function opens them all, and would stand behind whoever does. PostgreSQL 14
 * and later. Privilege: none. Locks: ACCESS SHARE for a moment.
 */
export async function listFigures(db: Db, relations: RelationName[]): Promise<FiguresRow[]> {
  if (relations.length === 0) return [];
  if (db.server.versionNum >= 150_000)
    await db.query({ text: '/* dbops:maintenance.flush */ select pg_catalog.pg_stat_force_next_flush()' });
  return await db.query<FiguresRow>({
    text: `/* dbops:maintenance.figures */
      with held as materialized (
        select distinct l.relation as oid from pg_catalog.pg_locks as l
         where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'
           and l.pid is distinct from pg_catalog.pg_backend_pid()),
      named as materialized (
        select distinct n.nspname as schema, c.relname as name, c.oid, c.relkind, c.relpages, c.reltoastrelid,
               c.relfrozenxid
          from unnest($1::text[], $2::text[]) as w(schema, name)
          join pg_catalog.pg_namespace as n on n.nspname = w.schema
          join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.name),
      parts as materialized (
        select c.oid, c.reltoastrelid as part, t.relpages from named as c
          join pg_catalog.pg_class as t on t.oid = c.reltoastrelid
         union all
        select c.oid, i.indexrelid, x.relpages from named as c
          join pg_catalog.pg_index as i on i.indrelid in (c.oid, nullif(c.reltoastrelid, 0))
          join pg_catalog.pg_class as x on x.oid = i.indexrelid)
      select c.schema, c.name,
             case when c.relkind not in ('r', 'm', 'i') then null
                  when exists (select from held as h
                                where h.oid = c.oid or h.oid in (select p.part from parts as p where p.oid = c.oid))
                  then (c.relpages + coalesce((select pg_catalog.sum(p.relpages) from parts as p where p.oid = c.oid), 0))::float8
                       * pg_catalog.current_setting('block_size')::float8
                  else coalesce(pg_catalog.pg_total_relation_size(c.oid), 0)::float8 end as "sizeBytes",
             case when c.relkind in ('r', 'm')
                  then coalesce(pg_catalog.pg_stat_get_dead_tuples(c.oid), 0)::float8 end as "deadRows",
             case when c.relkind in ('r', 'm')
                  then greatest(pg_catalog.age(c.relfrozenxid), coalesce(pg_catalog.age(t.relfrozenxid), 0)) end as "xidAge",
             (pg_catalog.pg_stat_get_vacuum_count(c.oid) + pg_catalog.pg_stat_get_autovacuum_count(c.oid)
              + pg_catalog.pg_stat_get_analyze_count(c.oid) + pg_catalog.pg_stat_get_autoanalyze_count(c.oid))::float8
               as maintained
        from named as c
        left join pg_catalog.pg_class as t on t.oid = c.reltoastrelid`,
    values: [relations.map(({ schema }) => schema), relations.map(({ name }) => name)],
  });
}

/** What keeps rows from being removed: the oldest transaction that somebody may still look back to. */
export interface HolderRow {
  kind: 'session' | 'prepared transaction' | 'replication slot' | 'standby';
  /** A process id, a global identifier, the name of a slot or of a standby. */
  name: string;
  user: string | null;
  state: string | null;
  /** How many transactions it is behind. */
  age: number;
  seconds: number | null;
  query: string | null;
}

/**
 * Who holds back the removal of dead rows of this database, the oldest first. Sessions of other databases do not count, and
 * VACUUM itself does not. PostgreSQL 14 and later. Privilege: pg_read_all_stats, without which sessions of others hide
 * their transactions. Locks: none.
 */
export async function listHolders(db: Db): Promise<HolderRow[]> {
  return await db.query<HolderRow>({
    text: `/* dbops:maintenance.holders */
      select h.kind, h.name, h."user", h.state, h.age, h.seconds, h.query
        from (
          select 'session' as kind, a.pid::text as name, a.usename::text as "user", a.state,
                 greatest(pg_catalog.age(a.backend_xid), pg_catalog.age(a.backend_xmin)) as age,
                 extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8 as seconds,
                 pg_catalog.left(a.query, 200) as query
            from pg_catalog.pg_stat_activity as a
           where a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
             and a.backend_type not in ('autovacuum worker', 'walsender')
             and coalesce(a.backend_xid, a.backend_xmin) is not null
             and a.pid not in (select p.pid from pg_catalog.pg_stat_progress_vacuum as p)
           union all
          select 'prepared transaction', x.gid, x.owner::text, null, pg_catalog.age(x.transaction),
                 extract(epoch from pg_catalog.clock_timestamp() - x.prepared)::float8, null
            from pg_catalog.pg_prepared_xacts as x where x.database = pg_catalog.current_database()
           union all
          select 'replication slot', s.slot_name::text, null, case when s.active then 'active' else 'inactive' end,
                 pg_catalog.age(s.xmin), null, null
            from pg_catalog.pg_replication_slots as s where s.xmin is not null
           union all
          select 'standby', r.application_name, r.usename::text, r.state, pg_catalog.age(r.backend_xmin), null, null
            from pg_catalog.pg_stat_replication as r where r.backend_xmin is not null) as h
       order by h.age desc, h.seconds desc nulls last
       limit 5`,
  });
}

/**
 * How many sessions of this database, and how many standbys, hide from this role what they hold back. Privilege: none;
 * with pg_read_all_stats none hides anything. PostgreSQL 14 and later. Locks: none.
 */
export async function countHiddenHolders(db: Db): Promise<{ sessions: number; standbys: number }> {
  const [row] = await db.query<{ sessions: number; standbys: number }>({
    text: `/* dbops:maintenance.hidden-holders */
      select (select pg_catalog.count(*)::float8 from pg_catalog.pg_stat_activity as a
               where a.datname = pg_catalog.current_database() and a.backend_type is null) as sessions,
             (select pg_catalog.count(*)::float8 from pg_catalog.pg_stat_replication as r
               where r.state is null) as standbys`,
  });
  return row ?? { sessions: 0, standbys: 0 };
}

/** How far a VACUUM has come. */
export interface VacuumProgressRow {
  pid: number;
  table: string | null;
  phase: string;
  scannedBlocks: number;
  totalBlocks: number;
  indexPasses: number;
}

/** The VACUUMs of these sessions. PostgreSQL 14 and later. Privilege: the same role, or pg_read_all_stats. Locks: none. */
export async function listVacuumProgress(db: Db, pids: number[]): Promise<VacuumProgressRow[]> {
  return await db.query<VacuumProgressRow>({
    text: `/* dbops:maintenance.progress */
      select p.pid, n.nspname || '.' || c.relname as "table", p.phase, p.heap_blks_scanned::float8 as "scannedBlocks",
             p.heap_blks_total::float8 as "totalBlocks", p.index_vacuum_count::float8 as "indexPasses"
        from pg_catalog.pg_stat_progress_vacuum as p
        left join pg_catalog.pg_class as c on c.oid = p.relid
        left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where p.pid = any ($1::int4[])`,
    values: [pids],
  });
}

/** A name that a person gave, with what it stands for. */
export interface ScopeRow {
  schema: string;
  name: string;
  oid: number;
  /** relkind. */
  kind: string;
  /** Itself and its partitions, of all levels. */
  members: number[];
}

/**
 * What these names stand for; those that no relation has are left out. Privilege: none. Locks: none, while
 * pg_partition_tree() would stand behind whoever holds a partition.
 */
export async function listScope(db: Db, tables: RelationName[]): Promise<ScopeRow[]> {
  return await db.query<ScopeRow>({
    text: `/* dbops:maintenance.scope */
      with recursive tree(root, oid) as (
             select c.oid, c.oid
               from unnest($1::text[], $2::text[]) as w(schema, name)
               join pg_catalog.pg_namespace as n on n.nspname = w.schema
               join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.name
              union
             select t.root, i.inhrelid
               from tree as t
               join pg_catalog.pg_class as p on p.oid = t.oid and p.relkind in ('p', 'I')
               join pg_catalog.pg_inherits as i on i.inhparent = t.oid)
      select n.nspname as schema, c.relname as name, c.oid::int8::float8 as oid, c.relkind::text as kind,
             array(select t.oid::int8::float8 from tree as t where t.root = c.oid) as members
        from unnest($1::text[], $2::text[]) as w(schema, name)
        join pg_catalog.pg_namespace as n on n.nspname = w.schema
        join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.name`,
    values: [tables.map((table) => table.schema), tables.map((table) => table.name)],
  });
}

/** Every relation of these kinds, for the nearest to a name that none has. Privilege: none. Locks: none. */
export async function listNames(db: Db, kinds: string[]): Promise<RelationName[]> {
  return await db.query<RelationName>({
    text: `/* dbops:maintenance.names */
      select n.nspname as schema, c.relname as name
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where c.relkind::text = any ($1::text[]) and c.relpersistence <> 't' and n.nspname <> 'pg_toast'`,
    values: [kinds],
  });
}

/** Which of these schemas exist. Privilege: none. Locks: none. */
export async function listSchemas(db: Db, schemas: string[]): Promise<string[]> {
  const rows = await db.query<{ name: string }>({
    text: `/* dbops:maintenance.schemas */
      select n.nspname as name from pg_catalog.pg_namespace as n where n.nspname = any ($1::text[])`,
    values: [schemas],
  });
  return rows.map((row) => row.name);
}

/** VACUUM of one table. Cannot run in a transaction. Locks: SHARE UPDATE EXCLUSIVE, and ACCESS EXCLUSIVE for moments to give empty pages at its end back. */
export function vacuumSql(table: RelationName, options: { freeze: boolean; analyze: boolean }): string {
  const words = [...(options.freeze ? ['freeze'] : []), ...(options.analyze ? ['analyze'] : [])];
  const list = words.length === 0 ? '' : ` (${words.join(', ')})`;
  return `/* dbops:maintenance.vacuum */ vacuum${list} ${relation(table)}`;
}

/** ANALYZE of one table; of a partitioned one before PostgreSQL 18 its partitions with it. Locks: SHARE UPDATE EXCLUSIVE. */
export function analyzeSql(table: RelationName, isAlone: boolean): string {
  return `/* dbops:maintenance.analyze */ analyze ${isAlone ? 'only ' : ''}${relation(table)}`;
}

/** Writes the whole table anew. Locks: ACCESS EXCLUSIVE from its beginning to its end. */
export function vacuumFullSql(table: RelationName): string {
  return `/* dbops:maintenance.vacuum-full */ vacuum (full, analyze) ${relation(table)}`;
}

/**
 * The data directory of a server that this session reaches without a network; null for others, and where the role may not
 * read it. Privilege: pg_read_all_settings. Locks: none.
 */
export async function findDataDirectory(db: Db): Promise<string | null> {
  const [row] = await db.query<{ directory: string | null }>({
    text: `/* dbops:maintenance.data-directory */
      select s.setting as directory from pg_catalog.pg_settings as s
       where s.name = 'data_directory'
         and (pg_catalog.inet_server_addr() is null or pg_catalog.inet_server_addr() << '127.0.0.0/8'
              or pg_catalog.inet_server_addr() = '::1')`,
  });
  return row?.directory ?? null;
}

/** Keeps that something was done at this moment, and what is worth to know of it. Privilege: INSERT and UPDATE on job. Locks: the row. */
export async function saveDone(db: Db, schema: string, name: string, spec: object): Promise<void> {
  await db.query({
    text: `/* dbops:maintenance.save */
      insert into ${ident(schema)}.job (name, spec, state) values ($1, $2::jsonb, 'done')
          on conflict (name) do update
             set spec = excluded.spec, state = 'done', changed_at = pg_catalog.clock_timestamp()`,
    values: [name, JSON.stringify(spec)],
  });
}
