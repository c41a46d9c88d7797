// "archive run" without its process: for stores with the patience of a test, which no flag of the command sets.
import type { ArchiveContext } from '../../src/archive/context.ts';
import { runArchive, type RunLine } from '../../src/archive/run/run.ts';
import { loadSettings } from '../../src/config/settings.ts';
import { DbopsError } from '../../src/errors.ts';
import { silentLog } from '../../src/output/log.ts';
import { connect } from '../../src/pg/connection.ts';
import { libpqEnvironment } from '../../src/pg/libpq.ts';
import { findCopyPrograms } from '../../src/process/tools.ts';
import { History } from '../../src/state/history.ts';
import { findStoreSettings, openStore, type StoreOptions } from '../../src/storage/open.ts';
import type { Store } from '../../src/storage/store.ts';
import { now, type Setup } from './archive-run.ts';

/** Runs it with the configuration of a workspace, to the error that it ends with, if any. */
export async function runWithStores(
  setup: Pick<Setup, 'dir' | 'db'>,
  options: StoreOptions,
): Promise<{ lines: RunLine[]; error: DbopsError | undefined }> {
  const settings = await loadSettings({}, setup.dir, { DATABASE_URL: setup.db.url });
  const connection = { ...settings.connection, applicationName: 'dbops archive run' };
  const db = await connect(connection);
  const opened: Store[] = [];
  const context: ArchiveContext = {
    db,
    settings,
    log: silentLog,
    signal: new AbortController().signal,
    now: new Date(now.DBOPS_TEST_NOW),
    history: new History({
      schema: settings.stateSchema,
      command: 'archive run',
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
    programs: () => findCopyPrograms(process.env['PATH'] ?? ''),
    connection: libpqEnvironment(connection),
    host: 'test',
    osUser: 'test',
    version: 'test',
    isGentle: false,
    jobs: settings.archive.jobs,
  };
  try {
    const { lines } = await runArchive(context, { partitions: [], until: 'dropped', max: 3 });
    return { lines, error: undefined };
  } catch (error) {
    if (error instanceof DbopsError) return { lines: [], error };
    throw error;
  } finally {
    for (const store of opened) await store.close();
    await db.close();
  }
}
