// What a command hands to a job, without its process: for stores with the patience of a test, which no flag sets.
import type { Settings } from '../../src/config/settings.ts';
import { silentLog } from '../../src/output/log.ts';
import type { Db } from '../../src/pg/connection.ts';
import { libpqEnvironment } from '../../src/pg/libpq.ts';
import { History } from '../../src/state/history.ts';
import { findStoreSettings, openStore, type StoreOptions } from '../../src/storage/open.ts';
import type { Store } from '../../src/storage/store.ts';

/** The parts of a context that archives and backups share. Stores are opened once, and kept in `opened`. */
export function jobOf(command: string, db: Db, settings: Settings, now: Date, options: StoreOptions) {
  const opened: Store[] = [];
  const context = {
    db,
    settings,
    log: silentLog,
    signal: new AbortController().signal,
    now,
    history: new History({
      schema: settings.stateSchema,
      command,
      target: null,
      version: 'test',
      log: silentLog,
    }),
    applied: { changes: 0 },
    waitMs: 0,
    consent: () => Promise.resolve(),
    openStore: async (name: string) => {
      const known = opened.find((store) => store.name === name);
      if (known !== undefined) return known;
      const store = await openStore(findStoreSettings(settings.stores, name), options);
      opened.push(store);
      return store;
    },
    connection: libpqEnvironment({ ...settings.connection, applicationName: `dbops ${command}` }),
    host: 'test',
    osUser: 'test',
    version: 'test',
  };
  return { context, opened };
}
