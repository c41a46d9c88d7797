import type { Query } from '../pg/connection.ts';
import { pageBytes, type IndexNameRow } from './indexes.ts';

/** Names of what REINDEX CONCURRENTLY leaves behind, with digits where a name was taken; a regular expression. */
export const leftoverPattern = '_cc(new|old)[0-9]*$';

/** Locks that tell of work on an index, and what sessions tell of the indexes that they build. */
export const indexWork = `held as materialized (
        select l.pid, l.relation, l.mode, l.granted
          from pg_catalog.pg_locks as l
         where l.locktype = 'relation' and l.mode in ('ShareUpdateExclusiveLock', 'AccessExclusiveLock')
           and l.database = (select d.oid from pg_catalog.pg_database as d
                              where d.datname = pg_catalog.current_database())),
      builds as materialized (
        select h.relation as table_oid, h.pid, p.pid is not null as is_told, nullif(p.index_relid, 0) as index_oid
          from held as h left join pg_catalog.pg_stat_progress_create_index as p on p.pid = h.pid
         where h.mode = 'ShareUpdateExclusiveLock' and h.granted)`;

/**
 * Whether a session works on the index `i`, of which \`indexWork\` is asked: true, false, or null where it builds one of the
 * same table and does not say which, or this role may not see it.
 *
 * REINDEX and DROP INDEX CONCURRENTLY hold SHARE UPDATE EXCLUSIVE on table and index from their beginning to their end; CREATE
 * INDEX CONCURRENTLY holds it on the table alone, and tells of the index; whatever else rebuilds or drops one takes ACCESS
 * EXCLUSIVE on it (ReindexRelationConcurrently() and DefineIndex() of src/backend/commands/indexcmds.c, index_drop() of
 * src/backend/catalog/index.c). A VACUUM holds the table just so, and works on no index that is not valid. The progress view
 * alone would not do: it names the old index while REINDEX waits for writers.
 */
export const isInWork = `case when exists (select from held as h
                                 where h.relation = i.indexrelid and h.mode = 'AccessExclusiveLock')
                    or exists (select from builds as b where b.table_oid = i.indrelid
                                  and (b.index_oid = i.indexrelid
                                       or exists (select from held as h
                                                   where h.pid = b.pid and h.relation = i.indexrelid))) then true
                  when not exists (select from builds as b where b.table_oid = i.indrelid and b.is_told
                                      and b.index_oid is null) then false end`;

export interface InvalidRow extends IndexNameRow {
  method: string;
  isPartitioned: boolean;
  /** _ccnew or _ccold with or without digits: what REINDEX CONCURRENTLY left. */
  isLeftover: boolean;
  /** A session builds, rebuilds or drops it at this moment; null where this role may not see which index it is. */
  isInWork: boolean | null;
  constraint: string | null;
  sizeBytes: number;
  /** Who asks, for the GRANT that lets it see more. */
  role: string;
}

/**
 * Indexes that are not valid, TOAST included, and whether they are being worked on. PostgreSQL 14 and later. Privilege: none;
 * pg_read_all_stats for what CREATE INDEX of another role builds. Locks: none on tables.
 */
export function invalidIndexes(): Query {
  return {
    text: `/* dbops:health.indexes-invalid */
      with ${indexWork}
      select i.indexrelid::int8::float8 as oid, n.nspname as schema, t.relname as "table", c.relname as name,
             c.relkind = 'I' as "isPartitioned", c.relname ~ '${leftoverPattern}' as "isLeftover",
             m.amname as method, k.conname as constraint, current_user::text as role,
             greatest(c.relpages, 0) * ${pageBytes} as "sizeBytes", ${isInWork} as "isInWork"
        from pg_catalog.pg_index as i
        join pg_catalog.pg_class as c on c.oid = i.indexrelid
        join pg_catalog.pg_class as t on t.oid = i.indrelid
        join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
        join pg_catalog.pg_am as m on m.oid = c.relam
        left join pg_catalog.pg_constraint as k on k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')
       where not i.indisvalid and n.nspname not in ('pg_catalog', 'information_schema') and t.relpersistence <> 't'
       order by n.nspname, t.relname, c.relname`,
  };
}
