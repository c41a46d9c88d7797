import { mkdir } from 'node:fs/promises';
import os from 'node:os';
import { findBackup, type FoundBackup } from '../../backup/catalogue/find.ts';
import type { RestoreContext, RestoreFiles } from '../../backup/restore/database/context.ts';
import { connect, type Db } from '../../pg/connection.ts';
import { inDatabase } from '../../pg/client.ts';
import { libpqEnvironment } from '../../pg/libpq.ts';
import { sqlStateOf } from '../../pg/sqlstate.ts';
import { refuseUnfitServer } from '../../partition/server.ts';
import { findTools } from '../../process/tools.ts';
import { openChosen, storesOf } from '../stores.ts';
import type { CommandContext } from '../command.ts';

/** Those that a server has as a rule; a restore needs one to connect to, and not the one that it replaces. */
const maintenanceDatabases = ['postgres', 'template1'];

/** Finds a backup for something that is done with its files, and closes the stores after it. */
export async function withBackupFiles<T>(
  context: CommandContext<object>,
  options: { id: string; store: string | undefined; jobs: number | undefined },
  work: (files: RestoreFiles, backup: FoundBackup) => Promise<T>,
): Promise<T> {
  const { settings, env, log, signal } = context;
  const stores = storesOf(context);
  const workDirectory = settings.backup.workDirectory ?? os.tmpdir();
  await mkdir(workDirectory, { recursive: true });
  try {
    const backup = await findBackup(await openChosen(context, stores, options.store), options.id, {
      signal,
      onProblem: (store, error) => {
        log.warn(
          { event: 'store_not_asked', store: store.name, code: error.code },
          `store "${store.name}": ${error.message}`,
        );
      },
    });
    const files: RestoreFiles = {
      log,
      signal,
      findTools: (names) => findTools(names, env['PATH'] ?? ''),
      workDirectory,
      jobs: options.jobs ?? settings.backup.jobs,
    };
    return await work(files, backup);
  } finally {
    await stores.closeAll();
  }
}

/** Adds the server to it: a session in a database that is not the one to be replaced, and more on demand. */
export async function withRestoreServer<T>(
  context: CommandContext<object>,
  files: RestoreFiles,
  avoid: string | undefined,
  work: (restore: RestoreContext) => Promise<T>,
): Promise<T> {
  const { settings, signal, applied } = context;
  const connection = { ...settings.connection, applicationName: 'dbops restore' };
  // Statements are not logged: some make roles with the verifiers of their passwords.
  const openDatabase = (name: string) => connect(inDatabase(connection, name), { signal });
  const db = await openMaintenance(openDatabase, avoid);
  try {
    await refuseUnfitServer(db);
    const connectionTo = (name: string) => libpqEnvironment(inDatabase(connection, name));
    return await work({ ...files, db, openDatabase, connectionTo, applied });
  } finally {
    await db.close();
  }
}

async function openMaintenance(open: (name: string) => Promise<Db>, avoid: string | undefined): Promise<Db> {
  const names = maintenanceDatabases.filter((name) => name !== avoid);
  for (const [index, name] of names.entries()) {
    try {
      return await open(name);
    } catch (error) {
      if (sqlStateOf(error) !== '3D000' || index === names.length - 1) throw error;
    }
  }
  throw new Error('no database to connect to');
}
