import { DbopsError } from '../errors.ts';
import type { JobContext } from '../partition/context.ts';
import { findStoreSettings, openStore, type StoreOptions } from '../storage/open.ts';
import type { Store } from '../storage/store.ts';
import type { CommandContext } from './command.ts';

/** Stores opened on first use, and closed together. */
export interface OpenStores {
  open: (name: string) => Promise<Store>;
  closeAll: () => Promise<void>;
}

/** The configured stores. Each is opened once. */
export function storesOf(
  context: Pick<CommandContext<object>, 'settings'>,
  options: StoreOptions = {},
): OpenStores {
  const opened = new Map<string, Promise<Store>>();
  return {
    open: (name) => {
      const known = opened.get(name);
      if (known !== undefined) return known;
      const opening = Promise.resolve().then(() =>
        openStore(findStoreSettings(context.settings.stores, name), options),
      );
      opened.set(name, opening);
      return opening;
    },
    closeAll: async () => {
      for (const store of opened.values()) {
        await store.then(
          (item) => item.close(),
          () => undefined,
        );
      }
    },
  };
}

/**
 * A job on the database where one can be reached; else why not, for commands that do with the stores alone. Throws what
 * is wrong with the configuration or with a server that was reached.
 */
export async function jobIfReachable(
  context: Pick<CommandContext<object>, 'job'>,
  target: string | null,
): Promise<{ job: JobContext } | { job: undefined; reason: string }> {
  try {
    return { job: await context.job(target) };
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode !== 3) throw error;
    return { job: undefined, reason: error.message };
  }
}

/** The stores of the configuration, or the one that was named. Throws store_unknown. */
export async function openChosen(
  context: Pick<CommandContext<object>, 'settings'>,
  stores: OpenStores,
  name: string | undefined,
): Promise<Store[]> {
  const names = name === undefined ? context.settings.stores.map((store) => store.name) : [name];
  if (names.length === 0) {
    throw new DbopsError('store_unknown', 'the configuration has no stores to look into', {
      hint: 'Name one under "stores:", with its url (file:///path or s3://bucket/prefix).',
    });
  }
  return await Promise.all(names.map(stores.open));
}
