import os from 'node:os';
import type { WalContext } from '../../backup/wal/context.ts';
import type { StoreOptions } from '../../storage/open.ts';
import { version } from '../../version.ts';
import type { CommandContext } from '../command.ts';
import { storesOf } from '../stores.ts';

/** PostgreSQL waits for these commands and asks again by itself: a store that is silent is given up sooner. */
const storeOptions: StoreOptions = { idleTimeoutMs: 20_000, attempts: 4 };

/** Runs a job on the archive of WAL with all that it needs, and closes the stores after it. */
export async function withWal<T>(
  context: CommandContext<object>,
  work: (wal: WalContext) => Promise<T>,
): Promise<T> {
  const { settings, log, signal } = context;
  const stores = storesOf(context, storeOptions);
  try {
    return await work({
      settings: settings.wal,
      openStore: stores.open,
      log,
      signal,
      host: os.hostname(),
      version,
    });
  } finally {
    await stores.closeAll();
  }
}
