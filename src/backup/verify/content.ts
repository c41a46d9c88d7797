import type { Readable } from 'node:stream';
import { DbopsError } from '../../errors.ts';
import { reasonOf } from '../../process/child.ts';
import { startPipeline, type Stage } from '../../process/pipeline.ts';
import type { Tool } from '../../process/tools.ts';
import { compareStored, damaged, forward } from '../../storage/read.ts';
import type { Store } from '../../storage/store.ts';
import { ServerManifestReader } from '../create/physical/server-manifest.ts';
import type { BackupFile, BackupManifest } from '../manifest.ts';

/** Programs that read what is in a file. What is not installed leaves that unknown. */
export interface ReadingPrograms {
  zstd: string | undefined;
  tar: string | undefined;
  /** The newest one: it reads the dumps of all older ones. */
  pgRestore: { path: string; major: number } | undefined;
}

/** Picks them from what is installed. */
export function readingPrograms(tools: Tool[]): ReadingPrograms {
  const path = (name: string) => tools.find((tool) => tool.name === name && tool.version !== undefined)?.path;
  const [newest] = tools
    .filter((tool) => tool.name === 'pg_restore' && tool.major !== undefined)
    .sort((a, b) => (b.major ?? 0) - (a.major ?? 0));
  return {
    zstd: path('zstd'),
    tar: path('tar'),
    pgRestore: newest === undefined ? undefined : { path: newest.path, major: newest.major ?? 0 },
  };
}

interface Reading {
  programs: ReadingPrograms;
  signal: AbortSignal;
  onBytes: (bytes: number) => void;
  /** Told of what could not be looked at, and why. */
  onUnknown: (what: string) => void;
}

/**
 * Reads one file of one copy to its end: its stored bytes are those of the manifest, and where it is compressed, an archive
 * or a table of contents, the program that reads such files at a restore can read it. Memory is bounded. Throws
 * copy_damaged, or what the store throws.
 */
export async function checkFile(
  reading: Reading,
  copy: { store: Store; place: string },
  manifest: BackupManifest,
  file: BackupFile,
): Promise<void> {
  const { store, place } = copy;
  const { signal, onBytes } = reading;
  const key = `${place}${file.name}`;
  const source = await store.get(key, { signal });
  const stages = stagesFor(reading, manifest, file);
  if (stages.length === 0) {
    const stored = await forward(source, undefined, onBytes);
    compareStored(store, key, stored, file);
    if (file.name === manifest.physical?.manifestFile) await checkServerManifest(store, key, signal);
    return;
  }
  await passThrough(source, stages, { store, key, file, signal, onBytes });
}

/** The hash is compared even where a program fails first: it says why. */
async function passThrough(
  source: Readable,
  stages: Stage[],
  where: {
    store: Store;
    key: string;
    file: BackupFile;
    signal: AbortSignal;
    onBytes: (bytes: number) => void;
  },
): Promise<void> {
  const { store, key, file, signal, onBytes } = where;
  const running = startPipeline(stages, { isFed: true, isSilent: true, signal });
  try {
    const stored = await forward(source, running.input, onBytes);
    compareStored(store, key, stored, file);
    await running.finished;
  } catch (cause) {
    running.stop();
    const error = await reasonOf(cause, running.finished);
    if (error instanceof DbopsError && error.code === 'tool_failed' && !signal.aborted)
      throw damaged(store, key, `${error.message}${error.detail === undefined ? '' : `: ${error.detail}`}`);
    throw error;
  } finally {
    source.destroy();
  }
}

/** What the stored bytes are piped through; nothing for what is stored plain. */
function stagesFor(reading: Reading, manifest: BackupManifest, file: BackupFile): Stage[] {
  const { zstd, tar, pgRestore } = reading.programs;
  if (!file.name.endsWith('.zst')) return [];
  if (zstd === undefined) {
    reading.onUnknown('zstd is not installed: nothing was decompressed');
    return [];
  }
  const plain: Stage = { path: zstd, args: ['-q', '-dc'] };
  if (file.name.endsWith('.tar.zst')) {
    if (tar !== undefined) return [plain, { path: tar, args: ['-t', '-f', '-'] }];
    reading.onUnknown('tar is not installed: whether the tar files can be unpacked was not tried');
  }
  if (file.name === 'dump.custom.zst' || file.name === 'dump/toc.dat.zst') {
    const major = Math.floor(manifest.server.versionNum / 10_000);
    if (pgRestore === undefined || pgRestore.major < major)
      reading.onUnknown(`pg_restore ${String(major)} is not installed: the table of contents was not read`);
    else return [plain, listContents(pgRestore.path, file.name)];
  }
  return [plain];
}

/**
 * pg_restore lists a dump of one file as it comes, and leaves what follows; what it leaves is read on, so that all is
 * decompressed. In the directory format the table of contents is a file of its own, which pg_restore wants in a directory. A
 * shell that is stopped by a signal leaves without what it traps for its end, unless it traps the signal.
 */
function listContents(pgRestore: string, name: string): Stage {
  const script =
    name === 'dump.custom.zst'
      ? '"$1" --list >/dev/null && cat >/dev/null'
      : 'dir=$(mktemp -d) && trap \'rm -rf "$dir"\' EXIT && trap \'exit 1\' HUP INT TERM && cat >"$dir/toc.dat" && "$1" --list "$dir" >/dev/null';
  return { path: '/bin/sh', args: ['-c', script, 'sh', pgRestore] };
}

/** PostgreSQL's own list of files ends with the hash of what stands before. */
async function checkServerManifest(store: Store, key: string, signal: AbortSignal): Promise<void> {
  const reader = new ServerManifestReader();
  try {
    const source = (await store.get(key, { signal })) as AsyncIterable<Buffer>;
    const chunks = reader.through(source);
    while ((await chunks.next()).done !== true);
    reader.result();
  } catch (error) {
    if (error instanceof DbopsError && error.code === 'tool_failed')
      throw damaged(store, key, error.detail ?? error.message);
    throw error;
  }
}
