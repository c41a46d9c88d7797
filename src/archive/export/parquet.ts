import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DbopsError } from '../../errors.ts';
import type { ArchiveContext } from '../context.ts';
import type { Manifest } from '../manifest.ts';
import { makeParquet, type TextArchive } from '../parquet/make.ts';
import { compareStored, hashOf } from '../../storage/read.ts';
import { loseStore, type Copies } from '../../storage/copies.ts';

/**
 * Makes Parquet of the parts in the first store, and puts it beside them in each. Without DuckDB, or when it fails, the
 * archive is whole all the same: that is warned of, and null comes back.
 */
export async function addParquet(
  context: ArchiveContext,
  where: { place: string; copies: Copies },
  archive: TextArchive,
): Promise<Manifest['parquet']> {
  const { settings, signal, log } = context;
  const { copies } = where;
  const [first] = copies.stores;
  if (first === undefined) return null;
  const directory = await mkdtemp(join(settings.archive.workDirectory ?? tmpdir(), 'dbops-parquet-'));
  try {
    const { zstd } = await context.programs();
    const made = await makeParquet({
      archive,
      openPart: (part) => first.get(`${where.place}${part.name}`, { signal }),
      zstd,
      workDirectory: directory,
      signal,
    });
    for (const file of made.files) {
      const key = `${where.place}${file.name}`;
      for (const store of [...copies.stores]) {
        try {
          const stored = await store.put(key, createReadStream(file.path), { signal, ifAbsent: true });
          compareStored(store, key, stored, file);
          compareStored(store, key, await hashOf(store, key, signal), file);
        } catch (error) {
          loseStore(copies, store, error);
        }
      }
    }
    return {
      files: made.files.map(({ name, rows, sizeBytes, sha256 }) => ({ name, rows, sizeBytes, sha256 })),
      columns: made.columns,
    };
  } catch (error) {
    if (!(error instanceof DbopsError) || error.code !== 'tool_failed') throw error;
    log.warn({ event: 'parquet_failed' }, `no Parquet beside the parts: ${error.message}`);
    return null;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
