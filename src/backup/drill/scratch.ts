import { join } from 'node:path';
import { connect, type Db } from '../../pg/connection.ts';
import { libpqEnvironment } from '../../pg/libpq.ts';
import type { ConnectionSettings } from '../../pg/client.ts';
import type { Account } from '../../process/account.ts';
import { initScratchCluster, scratchUser } from '../cluster/init.ts';
import { startServer, type RunningServer } from '../cluster/server.ts';

/** Sessions on a server that a drill has started. */
export interface ScratchSessions {
  openDatabase: (name: string) => Promise<Db>;
  connectionTo: (name: string) => Record<string, string>;
}

/**
 * Settings of every server that a drill starts; they win over whatever came with the files. Nothing of it is archived,
 * replicated, run by itself or written outside of its directory, and it is not as large as its source.
 */
export const harmlessSettings: Readonly<Record<string, string>> = {
  archive_mode: 'off',
  archive_command: '',
  // A subscription of the copy would read on from the publisher, and take away from the one of the source.
  max_logical_replication_workers: '0',
  primary_conninfo: '',
  primary_slot_name: '',
  synchronous_standby_names: '',
  // pg_cron and the like begin to work as soon as they are loaded.
  shared_preload_libraries: '',
  session_preload_libraries: '',
  local_preload_libraries: '',
  external_pid_file: '',
  ssl: 'off',
  huge_pages: 'off',
  shared_buffers: '128MB',
  // It is thrown away: a crash loses nothing.
  fsync: 'off',
};

/** Sessions of a role by the private socket of a server. */
export function sessionsOn(server: RunningServer, user: string, signal: AbortSignal): ScratchSessions {
  const settings = (database: string): ConnectionSettings => ({
    host: server.socketDirectory,
    port: server.port,
    user,
    database,
    connectTimeoutMs: 10_000,
    applicationName: 'dbops backup drill',
  });
  return {
    openDatabase: async (name) => await connect(settings(name), { signal }),
    connectionTo: (name) => libpqEnvironment(settings(name)),
  };
}

/** Makes an empty cluster and starts it. The caller stops it. Throws tool_failed. */
export async function startScratch(options: {
  programs: { initdb: string; postgres: string };
  dataDirectory: string;
  account: Account;
  signal: AbortSignal;
  /** To be loaded at the start. */
  libraries: string[];
}): Promise<RunningServer & ScratchSessions> {
  const { programs, dataDirectory, account, signal } = options;
  await initScratchCluster({ initdb: programs.initdb, dataDirectory, account, signal });
  const server = await startServer({
    postgres: programs.postgres,
    dataDirectory,
    account,
    signal,
    logFile: join(dataDirectory, 'dbops-drill.log'),
    settings: {
      ...harmlessSettings,
      shared_preload_libraries: options.libraries.join(','),
      autovacuum: 'off',
      full_page_writes: 'off',
      wal_level: 'minimal',
      max_wal_senders: '0',
      max_wal_size: '4GB',
    },
  });
  try {
    await server.ready();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { ...server, ...sessionsOn(server, scratchUser, signal) };
}
