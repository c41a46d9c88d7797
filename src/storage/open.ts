import type { StoreSettings } from '../config/stores.ts';
import { whichStore } from '../config/store-problems.ts';
import { parseStoreUrl } from '../config/store-url.ts';
import { DbopsError } from '../errors.ts';
import { FileStore } from './file.ts';
import type { Store } from './store.ts';

/** What tests and the capability probe set; everything has a default. */
export interface StoreOptions {
  /** A store that sends and takes no byte for this long is given up; default 60,000. */
  idleTimeoutMs?: number;
  /** How often a request is tried when the store is busy or fails; default 6. */
  attempts?: number;
  /** The first pause before another attempt; it doubles; default 250. */
  retryDelayMs?: number;
  /** Objects above this size go up in parts of it, at least 5 MiB; default 8 MiB, which allows for 156 GiB. */
  partSizeBytes?: number;
  /** Keys in one page of a listing; default 1,000. */
  pageSize?: number;
}

/** Opens a store; nothing is asked of it yet. Throws config_invalid for a URL that is none. */
export async function openStore(settings: StoreSettings, options: StoreOptions = {}): Promise<Store> {
  const place = parseStoreUrl(settings.url);
  if ('problem' in place) {
    throw new DbopsError('config_invalid', `the url of the store "${settings.name}" ${place.problem}`, {
      hint: `Correct stores.${settings.name}.url in the configuration.`,
    });
  }
  if (place.kind === 'file') return new FileStore(settings.name, place.path);
  // The AWS SDK is as large as everything else together: only those who need it load it.
  const { S3Store } = await import('./s3.ts');
  return new S3Store(settings, place, options);
}

/** The settings of a store. Throws store_unknown. */
export function findStoreSettings(stores: readonly StoreSettings[], name: string): StoreSettings {
  const found = stores.find((store) => store.name === name);
  if (found !== undefined) return found;
  const names = stores.map((store) => store.name);
  throw new DbopsError('store_unknown', `there is no store "${name}"`, {
    hint:
      names.length === 0
        ? 'The configuration has no stores: name one under "stores:", with its url.'
        : `Stores are named under "stores:" in the configuration: ${whichStore(name, names)}`,
  });
}
