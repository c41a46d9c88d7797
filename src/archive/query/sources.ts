import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { checkKey } from '../../storage/key.ts';
import type { Store } from '../../storage/store.ts';
import { isPattern } from '../parquet/duckdb.ts';
import { makeParquet } from '../parquet/make.ts';
import type { QueryCache } from './cache.ts';
import type { StoredArchive } from './find.ts';
import { compareStored, damaged } from '../../storage/read.ts';

/** How the rows of an archive come to the engine. */
export type SourceKind = 'in place' | 'from the cache' | 'fetched' | 'made from the parts';

export interface Source {
  paths: string[];
  kind: SourceKind;
  /** Read from the store: fetched bytes, or those of the files in place (of which only the needed parts are read). */
  sizeBytes: number;
}

export interface SourceContext {
  cache: QueryCache;
  /** Path of the zstd program, asked for where parts are read. */
  zstd: () => Promise<string>;
  signal: AbortSignal;
}

/** Raised when Parquet is made otherwise: what was made before is made anew. */
const makerVersion = 1;

/**
 * Gives the Parquet files of an archive: where they lie in a store on this host, else from the cache, else fetched into
 * it (and compared with the manifest), else made there from the parts. Throws copy_damaged, tool_failed, or what the
 * store throws.
 */
export async function openSource(context: SourceContext, archive: StoredArchive): Promise<Source> {
  const { manifest } = archive;
  const files = manifest.parquet?.files;
  if (manifest.rows === 0) return { paths: [], kind: 'in place', sizeBytes: 0 };
  if (files !== undefined && files.length > 0) {
    return (await inPlace(archive, files)) ?? (await cached(context, archive, files, 'fetched', fetchFiles));
  }
  return await cached(context, archive, manifest.parts, 'made from the parts', makeFromParts);
}

type Objects = { name: string; sizeBytes: number; sha256: string }[];

/** Undefined where the store is on another host, or a path would be taken for a pattern. */
async function inPlace(archive: StoredArchive, files: Objects): Promise<Source | undefined> {
  const { store, place } = archive;
  if (!store.url.startsWith('file:')) return undefined;
  const paths: string[] = [];
  for (const file of files) {
    const key = `${place}${file.name}`;
    checkKey(key);
    const path = join(fileURLToPath(store.url), key);
    if (isPattern(path)) return undefined;
    const found = await stat(path).catch(() => undefined);
    if (found?.size !== file.sizeBytes) {
      throw damaged(
        store,
        key,
        `it has ${String(found?.size ?? 'no')} bytes, and ${String(file.sizeBytes)} were written`,
      );
    }
    paths.push(path);
  }
  return { paths, kind: 'in place', sizeBytes: total(files) };
}

async function cached(
  context: SourceContext,
  archive: StoredArchive,
  objects: Objects,
  kind: SourceKind,
  make: (context: SourceContext, archive: StoredArchive, directory: string) => Promise<void>,
): Promise<Source> {
  const hash = createHash('sha256').update(
    JSON.stringify([makerVersion, objects.map((item) => item.sha256)]),
  );
  const name = `${archive.manifest.id.replaceAll(/[^A-Za-z0-9-]/g, '_')}-${hash.digest('hex').slice(0, 32)}`;
  let isMade = false;
  const paths = await context.cache.entry(name, async (directory) => {
    isMade = true;
    await make(context, archive, directory);
  });
  return { paths, kind: isMade ? kind : 'from the cache', sizeBytes: isMade ? total(objects) : 0 };
}

async function fetchFiles(context: SourceContext, archive: StoredArchive, directory: string): Promise<void> {
  const { store, place, manifest } = archive;
  for (const [index, file] of (manifest.parquet?.files ?? []).entries()) {
    const path = join(directory, `part-${String(index).padStart(5, '0')}.parquet`);
    await fetchTo(path, store, `${place}${file.name}`, file, context.signal);
  }
}

async function fetchTo(
  path: string,
  store: Store,
  key: string,
  expected: { sizeBytes: number; sha256: string },
  signal: AbortSignal,
): Promise<void> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      done(null, chunk);
    },
  });
  await pipeline(await store.get(key, { signal }), hashing, createWriteStream(path));
  compareStored(store, key, { sizeBytes, sha256: hash.digest('hex') }, expected);
}

async function makeFromParts(
  context: SourceContext,
  archive: StoredArchive,
  directory: string,
): Promise<void> {
  const { store, place, manifest } = archive;
  const { signal } = context;
  const workDirectory = join(directory, 'work');
  await mkdir(workDirectory);
  const { files } = await makeParquet({
    archive: manifest,
    openPart: (part) => store.get(`${place}${part.name}`, { signal }),
    zstd: await context.zstd(),
    workDirectory,
    signal,
  });
  for (const [index, file] of files.entries()) {
    await rename(file.path, join(directory, `part-${String(index).padStart(5, '0')}.parquet`));
  }
  await rm(workDirectory, { recursive: true, force: true });
}

function total(objects: Objects): number {
  return objects.reduce((sum, object) => sum + object.sizeBytes, 0);
}
