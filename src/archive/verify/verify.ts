import { DbopsError } from '../../errors.ts';
import type { Log } from '../../output/log.ts';
import { Progress } from '../../output/progress.ts';
import { displayName } from '../../sql/quote.ts';
import { addDigests } from '../digest.ts';
import { readBack } from '../export/read-back.ts';
import { writeManifest, type Manifest, type ManifestPart } from '../manifest.ts';
import { inParallel } from '../../process/parallel.ts';
import { findMissing, type ObjectProblem as Problem } from '../../catalogue/presence.ts';
import { ours } from '../../catalogue/stored.ts';
import type { Copy, Surveyed } from '../survey.ts';
import { compareStored, hashOf } from '../../storage/read.ts';

export const verifyLevels = ['manifest', 'bytes', 'digest'] as const;
/** manifest: the manifests and the lengths of what they name; bytes: everything is read; digest: row by row as well. */
export type VerifyLevel = (typeof verifyLevels)[number];

export interface VerifyContext {
  /** Path of zstd; asked for only where parts are read. */
  zstd: () => Promise<string>;
  signal: AbortSignal;
  log: Log;
  /** Objects that are read at a time. */
  jobs: number;
}

/** Something that is wrong with one copy. */
export interface VerifyFinding {
  archive: string;
  store: string;
  object: string;
  problem: string;
  /** Stores whose copy has no finding; empty: none is good. */
  good: string[];
}

export interface VerifiedArchive {
  id: string;
  partition: string;
  stores: string[];
  rows: number | null;
  bytesRead: number;
  findings: VerifyFinding[];
}

/** One object of one copy. */
interface Task {
  copy: Copy;
  object: string;
  check: () => Promise<void>;
}

/**
 * Reads the copies of archives back from their stores and compares them with their manifests, and the manifests with each
 * other. `expected` says in which stores an archive should be, where a ledger knows. What is wrong is returned, never
 * thrown; an interruption and a missing program are. Memory is bounded: one chunk an object.
 */
export async function verifyArchives(
  context: VerifyContext,
  archives: Surveyed[],
  level: VerifyLevel,
  expected: Map<string, string[]>,
): Promise<VerifiedArchive[]> {
  const zstd = level === 'manifest' ? '' : await context.zstd();
  const progress = new Progress(context.log, 'verifying', 'archive_verify_progress');
  try {
    const results: VerifiedArchive[] = [];
    for (const archive of archives) {
      context.signal.throwIfAborted();
      results.push(await verifyOne({ ...context, level, zstd, progress }, archive, expected.get(archive.id)));
    }
    return results;
  } finally {
    progress.end();
  }
}

interface Run extends Omit<VerifyContext, 'zstd'> {
  level: VerifyLevel;
  zstd: string;
  progress: Progress;
}

async function verifyOne(
  run: Run,
  archive: Surveyed,
  expected: string[] | undefined,
): Promise<VerifiedArchive> {
  const problems: Problem[] = [];
  const stores = archive.copies.map((copy) => copy.store.name);
  for (const name of expected ?? []) {
    if (!stores.includes(name))
      problems.push({
        store: name,
        object: archive.id,
        problem: 'the ledger has a copy there, and there is none',
      });
  }
  for (const copy of archive.copies) {
    if (copy.problem !== undefined)
      problems.push({
        store: copy.store.name,
        object: `${copy.place}manifest.json`,
        problem: copy.problem.message,
      });
  }
  const readable = archive.copies.filter((copy) => copy.manifest !== undefined);
  problems.push(...compareManifests(readable));
  let bytesRead = 0;
  const onBytes = (bytes: number) => {
    bytesRead += bytes;
    run.progress.add(bytes);
  };
  const digests = new Map<string, string>();
  const tasks: Task[] = [];
  for (const copy of readable) {
    if (copy.manifest === undefined) continue;
    problems.push(...(await findMissing(copy, objectsOf(copy.manifest), run.signal)));
    if (run.level !== 'manifest') tasks.push(...tasksOf(run, copy, copy.manifest, { onBytes, digests }));
  }
  await inParallel(run.jobs, tasks, run.signal, async ({ copy, object, check }) => {
    // What is not there, or too short, was told already.
    if (problems.some((item) => item.store === copy.store.name && item.object === object)) return;
    try {
      await check();
    } catch (error) {
      const { message, detail } = ours(error);
      problems.push({ store: copy.store.name, object, problem: detail ?? message });
    }
  });
  if (run.level === 'digest') problems.push(...compareDigests(readable, problems, digests));
  const good = readable
    .map((copy) => copy.store.name)
    .filter((name) => !problems.some((item) => item.store === name));
  return {
    id: archive.id,
    partition: archive.manifest === undefined ? 'unknown' : displayName(archive.manifest.partition),
    stores,
    rows: archive.manifest?.rows ?? null,
    bytesRead,
    findings: problems.map((item) => ({ archive: archive.id, ...item, good })),
  };
}

/** Copies of one archive have one manifest. */
function compareManifests(copies: Copy[]): Problem[] {
  const texts = copies.map((copy) => (copy.manifest === undefined ? '' : writeManifest(copy.manifest)));
  if (new Set(texts).size <= 1) return [];
  const stores = copies.map((copy) => copy.store.name).join(', ');
  return copies.map((copy) => ({
    store: copy.store.name,
    object: `${copy.place}manifest.json`,
    problem: `the manifests in ${stores} differ, and at most one is what was written`,
  }));
}

/** Every object of an archive beside its manifest, as its manifest names it. */
export function objectsOf(manifest: Manifest): { name: string; sizeBytes: number; sha256: string }[] {
  return [...manifest.parts, manifest.schemaSql, ...(manifest.parquet?.files ?? [])].map(
    ({ name, sizeBytes, sha256 }) => ({ name, sizeBytes, sha256 }),
  );
}

interface Sinks {
  onBytes: (bytes: number) => void;
  /** Sum of the row digests of each store's parts. */
  digests: Map<string, string>;
}

function tasksOf(run: Run, copy: Copy, manifest: Manifest, sinks: Sinks): Task[] {
  const { store, place } = copy;
  const partNames = new Set(manifest.parts.map((part) => part.name));
  const parts = manifest.parts.map((part): Task => ({
    copy,
    object: `${place}${part.name}`,
    check: () => checkPart(run, copy, part, sinks),
  }));
  const others = objectsOf(manifest).filter((object) => !partNames.has(object.name));
  return [
    ...parts,
    ...others.map((object): Task => ({
      copy,
      object: `${place}${object.name}`,
      check: async () => {
        const found = await hashOf(store, `${place}${object.name}`, run.signal);
        sinks.onBytes(found.sizeBytes);
        compareStored(store, `${place}${object.name}`, found, object);
      },
    })),
  ];
}

/** Reads a part as an export does: its bytes, what they decompress to, and the rows. */
async function checkPart(run: Run, copy: Copy, part: ManifestPart, sinks: Sinks): Promise<void> {
  const { store, place } = copy;
  const back = await readBack(store, `${place}${part.name}`, part, {
    zstd: run.zstd,
    signal: run.signal,
    withDigest: run.level === 'digest',
    onBytes: sinks.onBytes,
  });
  if (back.rows !== part.rows)
    throw wrong(`it holds ${String(back.rows)} rows, and the manifest says ${String(part.rows)}`);
  if (back.plainSha256 !== part.plainSha256)
    throw wrong(`decompressed, its sha256 is ${back.plainSha256}, and the manifest says ${part.plainSha256}`);
  if (back.digest === null) return;
  sinks.digests.set(store.name, addDigests(sinks.digests.get(store.name) ?? '0', back.digest));
}

function wrong(problem: string): DbopsError {
  return new DbopsError('copy_damaged', problem);
}

function compareDigests(copies: Copy[], problems: Problem[], digests: Map<string, string>): Problem[] {
  return copies.flatMap(({ store, place, manifest }) => {
    const wanted = manifest?.digest ?? null;
    const found = digests.get(store.name) ?? addDigests();
    const isTold = problems.some((item) => item.store === store.name);
    if (wanted === null || isTold || found === wanted) return [];
    const problem = `the digest of its rows is ${found}, and the manifest says ${wanted}`;
    return [{ store: store.name, object: place, problem }];
  });
}
