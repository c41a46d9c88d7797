// "backup create" without its process: for stores with the patience of a test, which no flag of the command sets.
import os from 'node:os';
import { createBackup, type CreatedBackup } from '../../src/backup/create/create.ts';
import { findMaker } from '../../src/backup/create/makers.ts';
import type { BackupWish } from '../../src/backup/create/maker.ts';
import type { BackupContext } from '../../src/backup/context.ts';
import { loadSettings } from '../../src/config/settings.ts';
import { DbopsError } from '../../src/errors.ts';
import { silentLog } from '../../src/output/log.ts';
import { connect } from '../../src/pg/connection.ts';
import { libpqEnvironment } from '../../src/pg/libpq.ts';
import { findTools } from '../../src/process/tools.ts';
import { History } from '../../src/state/history.ts';
import { findStoreSettings, openStore, type StoreOptions } from '../../src/storage/open.ts';
import type { Store } from '../../src/storage/store.ts';

/** Makes one with the configuration of a workspace: what was made, or the error that it ended with. */
export async function createWithStores(
  site: { dir: string; db: { url: string } },
  kind: BackupWish['kind'],
  options: StoreOptions,
): Promise<{ made: CreatedBackup | undefined; error: DbopsError | undefined }> {
  const settings = await loadSettings({}, site.dir, { DATABASE_URL: site.db.url });
  const connection = { ...settings.connection, applicationName: 'dbops backup create' };
  const db = await connect(connection);
  const opened: Store[] = [];
  const context: BackupContext = {
    db,
    settings,
    log: silentLog,
    signal: new AbortController().signal,
    now: new Date(),
    history: new History({
      schema: settings.stateSchema,
      command: 'backup create',
      target: null,
      version: 'test',
      log: silentLog,
    }),
    applied: { changes: 0 },
    waitMs: 0,
    consent: () => Promise.resolve(),
    openStore: async (name) => {
      const known = opened.find((store) => store.name === name);
      if (known !== undefined) return known;
      const store = await openStore(findStoreSettings(settings.stores, name), options);
      opened.push(store);
      return store;
    },
    findTools: (names) => findTools(names, process.env['PATH'] ?? ''),
    connection: libpqEnvironment(connection),
    host: 'test',
    osUser: 'test',
    pid: process.pid,
    version: 'test',
    workDirectory: os.tmpdir(),
    jobs: settings.backup.jobs,
  };
  const wish: BackupWish = {
    kind,
    tables: [],
    excludeData: [],
    reason: null,
    stream: false,
    type: null,
    parent: null,
  };
  try {
    const maker = await findMaker(kind);
    return {
      made: await createBackup(context, wish, maker, await maker.plan(context, wish)),
      error: undefined,
    };
  } catch (error) {
    if (error instanceof DbopsError) return { made: undefined, error };
    throw error;
  } finally {
    await db.close();
    for (const store of opened) await store.close();
  }
}
