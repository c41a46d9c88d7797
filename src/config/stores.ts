import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { DbopsError } from '../errors.ts';
import type { LoadedFile } from './load.ts';
import type { Picker } from './picker.ts';
import type { FileStore } from './schema.ts';

/** A store as configured. Its secret never leaves this object but for the store itself. */
export interface StoreSettings {
  /** The name under `stores:` in the file. */
  name: string;
  /** file:///path or s3://bucket/prefix, without credentials. */
  url: string;
  region?: string | undefined;
  endpoint?: string | undefined;
  pathStyle: boolean;
  profile?: string | undefined;
  accessKeyId?: string | undefined;
  secretAccessKey?: string | undefined;
  kmsKeyId?: string | undefined;
  storageClass?: string | undefined;
}

/** The stores of the nearest file that has any. Throws config_not_found for a secret's file that cannot be read. */
export async function storeSettings(
  picker: Picker,
  files: LoadedFile[],
  cwd: string,
): Promise<StoreSettings[]> {
  const file = files.find((item) => item.settings.stores !== undefined);
  const stores = Object.entries(file?.settings.stores ?? {});
  return await Promise.all(
    stores.map(async ([name, store]): Promise<StoreSettings> => {
      const source = `${file?.path ?? ''} (${file?.kind ?? ''} file)`;
      picker.pick(`stores.${name}.url`, [{ value: store.url, source }], store.url.includes('@'));
      const secret = store.secretAccessKey ?? (await secretOf(name, store, file, cwd));
      if (secret !== undefined)
        picker.pick(`stores.${name}.secretAccessKey`, [{ value: secret, source }], true);
      return {
        name,
        url: store.url,
        region: store.region,
        endpoint: store.endpoint,
        pathStyle: store.pathStyle ?? store.endpoint !== undefined,
        profile: store.profile,
        accessKeyId: store.accessKeyId,
        secretAccessKey: secret,
        kmsKeyId: store.kmsKeyId,
        storageClass: store.storageClass,
      };
    }),
  );
}

/** A path in a file is meant beside that file, wherever cron runs. */
async function secretOf(
  name: string,
  store: FileStore,
  file: LoadedFile | undefined,
  cwd: string,
): Promise<string | undefined> {
  if (store.secretAccessKeyFile === undefined) return undefined;
  const path = resolve(cwd, dirname(file?.path ?? ''), store.secretAccessKeyFile);
  try {
    return (await readFile(path, 'utf8')).split(/\r?\n/)[0];
  } catch (cause) {
    throw new DbopsError('config_not_found', `cannot read the file of stores.${name}.secretAccessKeyFile`, {
      detail: (cause as Error).message,
      hint: 'Check the path and that this user may read it.',
      cause,
    });
  }
}
