import { createReadStream } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import { bodyOf, runPipeline, startPipeline, type Pipeline, type Stage } from '../../../process/pipeline.ts';
import type { Tool } from '../../../process/tools.ts';
import { withWorkDirectory } from '../../../process/work-directory.ts';
import { isStoreFailure } from '../../../storage/copies.ts';
import { getServerClock } from '../../../sql/physical.ts';
import type { BackupContext } from '../../context.ts';
import type { BackupFile } from '../../manifest.ts';
import type { Making } from '../maker.ts';
import { FrameStarts } from './frames.ts';
import { basebackupArguments, pzstdArguments, zstdArguments, type PhysicalPlan } from './plan.ts';
import { ServerManifestReader, type ServerManifest } from './server-manifest.ts';
import { readLastOfStored } from './stored-manifest.ts';
import { watchBaseBackup } from './watch.ts';

export const baseFile = 'base.tar.zst';
export const manifestFile = 'backup_manifest';

/** What was stored. */
export interface CopiedCluster {
  manifest: ServerManifest;
  base: BackupFile;
  /** By the clock of the server, once the end of the backup was in the WAL. */
  stoppedAt: Date;
}

interface CopyOptions {
  /** The parent's backup_manifest on disk, for an incremental one. */
  parentManifest: string | undefined;
}

/**
 * Copies the cluster to the store as pg_basebackup sends it, through kernel pipes. pg_basebackup writes one tablespace at
 * most to a pipe: others go through the work directory. Throws tool_failed, or what the stores throw.
 */
export async function copyCluster(
  making: Making,
  plan: PhysicalPlan,
  options: CopyOptions,
): Promise<CopiedCluster> {
  if (plan.tablespaces.length > 0) return await copyByFolder(making, plan, options);
  return plan.tools.pzstd === undefined
    ? await copyBesideTar(making, plan, options)
    : await copyInFrames(making, plan, plan.tools.pzstd, options);
}

function compressor(context: BackupContext, plan: PhysicalPlan): Stage {
  return { path: plan.tools.zstd.path, args: zstdArguments(context) };
}

/** The manifest is the last file of the tar: it is read back out of what was stored, and what was cut off has none. */
async function copyInFrames(
  making: Making,
  plan: PhysicalPlan,
  pzstd: Tool,
  { parentManifest }: CopyOptions,
): Promise<CopiedCluster> {
  const { context, id, sink } = making;
  const { pg_basebackup, zstd } = plan.tools;
  const args = basebackupArguments(plan, { id, target: '-', parentManifest });
  const stages: Stage[] = [
    { path: pg_basebackup.path, args },
    { path: pzstd.path, args: pzstdArguments(context) },
  ];
  const frames = new FrameStarts();
  const { result: base, stoppedAt } = await whileWatched(
    making,
    stages,
    async (running) => await sink.put(baseFile, frames.through(bodyOf(running))),
  );
  const tar = { file: baseFile, sizeBytes: base.sizeBytes, frames, zstd: zstd.path };
  const manifest = await readLastOfStored(making, tar, manifestFile);
  if (manifest === undefined) throw notWhole(`it does not end with ${manifestFile}`);
  const reader = new ServerManifestReader();
  await sink.put(manifestFile, reader.through(manifest));
  return { manifest: reader.result(), base, stoppedAt };
}

/**
 * Where there is no pzstd, tar extracts the manifest from a copy of the stream, which takes a quarter longer. It reads the
 * tar to its end, where the manifest is: what was cut off has none.
 */
async function copyBesideTar(
  making: Making,
  plan: PhysicalPlan,
  { parentManifest }: CopyOptions,
): Promise<CopiedCluster> {
  const { context, id, sink } = making;
  const { pg_basebackup, tar } = plan.tools;
  const args = basebackupArguments(plan, { id, target: '-', parentManifest });
  const stages: Stage[] = [
    { path: pg_basebackup.path, args, side: [{ path: tar.path, args: ['-xOf', '-', manifestFile] }] },
    compressor(context, plan),
  ];
  const reader = new ServerManifestReader();
  const { result: base, stoppedAt } = await whileWatched(making, stages, async (running) => {
    const [side] = running.sides;
    if (side === undefined) throw new Error('a pipeline without its side');
    const manifest = bodyOf({ ...running, output: side });
    return await firstOf([
      sink.put(baseFile, bodyOf(running)),
      sink.put(manifestFile, reader.through(manifest)),
    ]);
  });
  return { manifest: reader.result(), base, stoppedAt };
}

/**
 * The first of two files, once both are stored. A store that fails stops the programs, and the other file then fails for
 * want of them, often before the store has given up: what the store says is the reason.
 */
async function firstOf(files: [Promise<BackupFile>, Promise<BackupFile>]): Promise<BackupFile> {
  const results = await Promise.allSettled(files);
  const errors = results.flatMap((item) => (item.status === 'rejected' ? [item.reason as unknown] : []));
  if (errors.length === 0) return await files[0];
  throw errors.find((error) => error instanceof DbopsError && isStoreFailure(error)) ?? errors[0];
}

async function copyByFolder(
  making: Making,
  plan: PhysicalPlan,
  { parentManifest }: CopyOptions,
): Promise<CopiedCluster> {
  const { context, id, sink } = making;
  const { pg_basebackup, tar } = plan.tools;
  return await withWorkDirectory(context.workDirectory, 'base', async (folder) => {
    const args = basebackupArguments(plan, { id, target: folder, parentManifest });
    const { stoppedAt } = await whileWatched(
      making,
      [{ path: pg_basebackup.path, args }],
      async ({ output, finished }) => {
        output.resume();
        await finished;
      },
    );
    await refuseOtherFiles(plan, folder);
    const reader = new ServerManifestReader();
    await sink.put(manifestFile, reader.through(createReadStream(join(folder, manifestFile))));
    const manifest = reader.result();
    const stored: BackupFile[] = [];
    for (const name of ['base', ...plan.tablespaces.map((item) => item.oid)]) {
      const file = join(folder, `${name}.tar`);
      // A tar that was cut off on a disk that lost something is found before it is stored.
      await runPipeline([{ path: tar.path, args: ['-tf', file] }], {
        signal: context.signal,
        isSilent: true,
      });
      const { path, args: flags } = compressor(context, plan);
      const running = startPipeline([{ path, args: [...flags, '--', file] }], { signal: context.signal });
      stored.push(await sink.put(`${name}.tar.zst`, bodyOf(running)));
      await rm(file);
    }
    const [base] = stored;
    if (base === undefined) throw new Error('a cluster without a data directory');
    return { manifest, base, stoppedAt };
  });
}

/** Runs pg_basebackup as the first of some programs, and says what became of it. */
async function whileWatched<T>(
  { context, id }: Making,
  stages: Stage[],
  work: (running: Pipeline) => Promise<T>,
): Promise<{ result: T; stoppedAt: Date }> {
  const applicationName = `dbops backup ${id}`;
  const running = startPipeline(stages, {
    env: { ...context.connection, PGAPPNAME: applicationName },
    signal: context.signal,
    onLine: (line) => {
      // Said each minute while it waits; the rest of what it says is for the message of a failure.
      if (/WARNING: {2}/.test(line))
        context.log.warn({ event: 'backup_warning' }, line.replace(/^.*WARNING: {2}/, ''));
      return true;
    },
  });
  const watch = watchBaseBackup(context, applicationName, running.stop);
  try {
    const result = await work(running);
    await watch.end();
    return { result, stoppedAt: watch.copiedAt() ?? (await getServerClock(context.db)) };
  } catch (error) {
    running.stop();
    await running.finished.catch(() => undefined);
    await watch.end();
    throw watch.failure() ?? inOurWords(error);
  }
}

/** tar fails where pg_basebackup ended with 0 and wrote something else than a base backup. */
function inOurWords(error: unknown): unknown {
  if (!(error instanceof DbopsError) || error.code !== 'tool_failed') return error;
  if (error.message.startsWith('tar ')) return notWhole(error.detail, error);
  const words = error.detail ?? '';
  // wal_keep_size or a slot would have kept it.
  if (!/requested WAL segment \S+ has already been removed|could not find WAL file/.test(words)) return error;
  return new DbopsError('tool_failed', 'the server removed WAL that the backup needs before it had ended', {
    detail: words,
    hint: 'Raise wal_keep_size above what is written during a backup, or let the WAL be archived: see "dbops wal commands".',
    cause: error,
  });
}

function notWhole(detail: string | undefined, cause?: DbopsError): DbopsError {
  return new DbopsError('tool_failed', 'what pg_basebackup wrote is no whole base backup', { detail, cause });
}

/** A tablespace that was made after the plan would be missing in the manifest. */
async function refuseOtherFiles(plan: PhysicalPlan, folder: string): Promise<void> {
  const wanted = [manifestFile, 'base.tar', ...plan.tablespaces.map((item) => `${item.oid}.tar`)].sort();
  const found = (await readdir(folder)).sort();
  const sizes = await Promise.all(found.map(async (name) => (await stat(join(folder, name))).size));
  if (found.join() === wanted.join() && sizes.every((size) => size > 0)) return;
  throw new DbopsError('tool_failed', 'pg_basebackup wrote other files than were expected', {
    detail: `expected ${wanted.join(', ')}, found ${found.join(', ')}`,
    hint: 'Was a tablespace made or dropped meanwhile? Run it again.',
  });
}
