import type { Db } from '../pg/connection.ts';
import { ident } from './quote.ts';

/** What a session may do and what it is connected to. */
export interface SessionFactsRow {
  maxLocksPerTransaction: number;
  walLevel: string;
  /** What a session of this role gets before dbops sets its own. */
  lockTimeout: string;
  statementTimeout: string;
  readOnlyDefault: string;
  mayReadStats: boolean;
  /** Null where the setting may not be read. */
  dataDirectory: string | null;
  /** Null for a socket. */
  serverAddress: string | null;
  mayCreateSchema: boolean;
  stateExists: boolean;
  mayUseState: boolean;
}

/**
 * Settings and privileges of this session, in one statement. `stateSchema` is ours. PostgreSQL 14 and later. Privilege:
 * none; what may not be read is null. Locks: none.
 */
export async function getSessionFacts(db: Db, stateSchema: string): Promise<SessionFactsRow> {
  const [row] = await db.query<SessionFactsRow>({
    text: `/* dbops:doctor.session */
      select (select s.setting::int4 from pg_catalog.pg_settings as s where s.name = 'max_locks_per_transaction')
               as "maxLocksPerTransaction",
             pg_catalog.current_setting('wal_level') as "walLevel",
             (select s.reset_val from pg_catalog.pg_settings as s where s.name = 'lock_timeout') as "lockTimeout",
             (select s.reset_val from pg_catalog.pg_settings as s where s.name = 'statement_timeout')
               as "statementTimeout",
             (select s.reset_val from pg_catalog.pg_settings as s where s.name = 'default_transaction_read_only')
               as "readOnlyDefault",
             pg_catalog.pg_has_role('pg_read_all_stats', 'usage') as "mayReadStats",
             (select s.setting from pg_catalog.pg_settings as s where s.name = 'data_directory') as "dataDirectory",
             pg_catalog.host(pg_catalog.inet_server_addr()) as "serverAddress",
             pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') as "mayCreateSchema",
             n.oid is not null as "stateExists",
             coalesce(pg_catalog.has_schema_privilege(n.oid, 'usage')
                      and (select pg_catalog.has_table_privilege(c.oid, 'insert')
                                 and pg_catalog.has_table_privilege(c.oid, 'update')
                             from pg_catalog.pg_class as c where c.relnamespace = n.oid and c.relname = 'run'), false)
               as "mayUseState"
        from (values (1)) as one(x)
        left join pg_catalog.pg_namespace as n on n.nspname = $1`,
    values: [stateSchema],
  });
  if (row === undefined) throw new Error('the server answered with no row');
  return row;
}

export interface ExtensionRow {
  name: string;
  installed: string | null;
  available: string | null;
}

/** Which of these extensions are installed in this database, or could be. Privilege: none. Locks: none. */
export async function listExtensions(db: Db, names: string[]): Promise<ExtensionRow[]> {
  return await db.query<ExtensionRow>({
    text: `/* dbops:doctor.extensions */
      select w.name, e.extversion as installed, a.default_version as available
        from pg_catalog.unnest($1::text[]) as w(name)
        left join pg_catalog.pg_extension as e on e.extname = w.name
        left join pg_catalog.pg_available_extensions as a on a.name = w.name`,
    values: [names],
  });
}

/** The server's clock at this moment. Privilege: none. Locks: none. */
export async function getServerTime(db: Db): Promise<Date> {
  const [row] = await db.query<{ at: Date }>({
    text: '/* dbops:doctor.clock */ select pg_catalog.clock_timestamp() as at',
  });
  if (row === undefined) throw new Error('the server answered with no row');
  return row.at;
}

/** GRANT statements that help, with quoted names. */
export const grants = {
  membership: (owner: string, role: string) => `grant ${ident(owner)} to ${ident(role)};`,
  createOnSchema: (schema: string, role: string) =>
    `grant create on schema ${ident(schema)} to ${ident(role)};`,
  createOnDatabase: (database: string, role: string) =>
    `grant create on database ${ident(database)} to ${ident(role)};`,
  stateTables: (schema: string, role: string) =>
    `grant usage on schema ${ident(schema)} to ${ident(role)}; grant select, insert, update on all tables in schema ${ident(schema)} to ${ident(role)};`,
  references: (quotedTable: string, role: string) => `grant references on ${quotedTable} to ${ident(role)};`,
};
