import { findMissing, type ObjectProblem } from '../../catalogue/presence.ts';
import { ours } from '../../catalogue/stored.ts';
import type { Log } from '../../output/log.ts';
import { Progress } from '../../output/progress.ts';
import { inParallel } from '../../process/parallel.ts';
import { manifestName } from '../../storage/copies.ts';
import type { Store } from '../../storage/store.ts';
import { groupOf, parentOf, tablesOf } from '../catalogue/facts.ts';
import { putMark } from '../catalogue/marks.ts';
import type { BackupCopy, SurveyedBackup } from '../catalogue/survey.ts';
import { writeBackupManifest, type BackupFile, type BackupManifest } from '../manifest.ts';
import { verifiedName } from '../place.ts';
import { checkFile, type ReadingPrograms } from './content.ts';
import { isOutage, type Outage } from './outage.ts';
import { checkNeededWal } from './wal.ts';

export interface VerifyContext {
  programs: ReadingPrograms;
  workDirectory: string;
  /** Stores of the archive of WAL, and in how many of them a segment must be. */
  walStores: Store[];
  walRequired: number;
  /** In how many stores a backup must be; names of those that get one. */
  required: number;
  copies: string[];
  /** What pgBackRest says of one of its own; undefined where it cannot be asked. */
  askPgbackrest: ((part: NonNullable<BackupManifest['pgbackrest']>) => Promise<string[]>) | undefined;
  by: { dbops: string; host: string; osUser: string };
  signal: AbortSignal;
  log: Log;
  /** Files that are read at a time. */
  jobs: number;
}

/** Something that is wrong with a backup. */
export interface BackupFinding extends ObjectProblem {
  backup: string;
  /** Stores whose copy has no finding; empty: none is good. */
  good: string[];
}

export interface VerifiedBackup {
  id: string;
  what: string;
  /** Null: no manifest can be read. */
  manifest: BackupManifest | null;
  copies: BackupCopy[];
  bytesRead: number;
  /** Names of stores whose copy is whole, and whose backup can be restored. */
  good: string[];
  findings: BackupFinding[];
  /** What could not be looked at on this host. */
  unknown: string[];
  /** Stores that failed meanwhile: whether what they have is good is not known. */
  outages: Outage[];
}

/**
 * Reads every file of every copy and compares it with the manifest, the manifests with each other, and looks for the WAL
 * and the parents that a backup needs; a parent that is not among the backups to verify is verified too. What is found
 * is written beside each copy as verified.json. What is wrong is returned, never thrown; an interruption is. `expected`
 * says in which stores a backup should be, where a ledger knows.
 */
export async function verifyBackups(
  context: VerifyContext,
  backups: SurveyedBackup[],
  all: SurveyedBackup[],
  expected: Map<string, string[]>,
): Promise<VerifiedBackup[]> {
  const progress = new Progress(context.log, 'verifying', 'backup_verify_progress');
  const results = new Map<string, VerifiedBackup>();
  try {
    for (const backup of withParents(backups, all)) {
      context.signal.throwIfAborted();
      const result = await verifyOne(context, backup, expected.get(backup.id), progress);
      addChain(result, results, all);
      results.set(backup.id, result);
      await mark(context, result);
    }
    return [...results.values()];
  } finally {
    progress.end();
  }
}

/** Parents first. */
function withParents(backups: SurveyedBackup[], all: SurveyedBackup[]): SurveyedBackup[] {
  const order = new Map<string, SurveyedBackup>();
  const add = (backup: SurveyedBackup, below: string[]) => {
    if (order.has(backup.id) || below.includes(backup.id)) return;
    const parent = backup.manifest === undefined ? null : parentOf(backup.manifest);
    const known = all.find((item) => item.id === parent);
    if (known !== undefined) add(known, [...below, backup.id]);
    order.set(backup.id, backup);
  };
  for (const backup of backups) add(backup, []);
  return [...order.values()];
}

async function verifyOne(
  context: VerifyContext,
  backup: SurveyedBackup,
  expected: string[] | undefined,
  progress: Progress,
): Promise<VerifiedBackup> {
  const { manifest, copies } = backup;
  const result: VerifiedBackup = {
    id: backup.id,
    what: manifest === undefined ? 'unknown' : groupOf({ ...manifest, tables: tablesOf(manifest) }),
    manifest: manifest ?? null,
    copies,
    bytesRead: 0,
    good: [],
    findings: [],
    unknown: [],
    outages: [],
  };
  const problems: ObjectProblem[] = missingCopies(context, backup, expected);
  for (const copy of copies) {
    // Without a manifest there is no copy, which is told above.
    if (copy.problem !== undefined && isOutage(copy.problem))
      result.outages.push({ store: copy.store.name, problem: copy.problem.message });
    else if (copy.problem !== undefined && copy.hasManifest)
      problems.push({
        store: copy.store.name,
        object: `${copy.place}${manifestName}`,
        problem: copy.problem.detail ?? copy.problem.message,
      });
  }
  const readable = copies.filter((copy) => copy.manifest !== undefined);
  problems.push(...compareManifests(readable));
  for (const copy of readable) problems.push(...(await readCopy(context, copy, result, progress)));
  const general = manifest === undefined ? [] : await checkNeeds(context, manifest, problems, result);
  const isAsked = (name: string) => !result.outages.some((item) => item.store === name || item.store === '-');
  result.good = readable
    .map((copy) => copy.store.name)
    .filter(isAsked)
    .filter((name) => general.length === 0 && !problems.some((item) => isOfCopy(item, name, backup)));
  const objects = [...problems, ...general.map((problem) => ({ store: '-', object: backup.id, problem }))];
  result.findings = objects.map((item) => ({ backup: backup.id, ...item, good: result.good }));
  return result;
}

/** WAL lies beside the backups: what is wrong with one copy of it is not wrong with a copy of the backup. */
function isOfCopy(item: ObjectProblem, store: string, backup: SurveyedBackup): boolean {
  return item.store === store && backup.copies.some((copy) => item.object.startsWith(copy.place));
}

/** Stores in which it should be and is not. */
function missingCopies(
  context: VerifyContext,
  backup: SurveyedBackup,
  expected: string[] | undefined,
): ObjectProblem[] {
  const present = backup.copies.filter((copy) => copy.hasManifest).map((copy) => copy.store.name);
  const lost = (expected ?? []).filter((name) => !present.includes(name));
  const problems = lost.map((store) => ({
    store,
    object: backup.copies[0]?.place ?? backup.id,
    problem: 'the ledger has a copy there, and there is none',
  }));
  if (present.length >= context.required || lost.length > 0) return problems;
  const without = context.copies.filter((name) => !present.includes(name));
  return without.map((store) => ({
    store,
    object: backup.copies[0]?.place ?? backup.id,
    problem: `it has no copy there; it is in ${String(present.length)} of ${String(context.required)} required stores`,
  }));
}

/** Copies of one backup have one manifest. */
function compareManifests(copies: BackupCopy[]): ObjectProblem[] {
  const texts = copies.map((copy) => (copy.manifest === undefined ? '' : writeBackupManifest(copy.manifest)));
  if (new Set(texts).size <= 1) return [];
  const stores = copies.map((copy) => copy.store.name).join(', ');
  return copies.map((copy) => ({
    store: copy.store.name,
    object: `${copy.place}${manifestName}`,
    problem: `the manifests in ${stores} differ, and at most one is what was written`,
  }));
}

async function readCopy(
  context: VerifyContext,
  copy: BackupCopy,
  result: VerifiedBackup,
  progress: Progress,
): Promise<ObjectProblem[]> {
  const { manifest, store, place } = copy;
  if (manifest === undefined) return [];
  const problems = await findMissing(copy, manifest.files, context.signal);
  const told = new Set(problems.map((item) => item.object));
  if (told.has(place)) {
    // The listing failed: nothing is known of any file.
    result.outages.push({ store: store.name, problem: problems[0]?.problem ?? '' });
    return [];
  }
  const files = manifest.files.filter((file) => !told.has(`${place}${file.name}`));
  await inParallel(context.jobs, files, context.signal, async (file: BackupFile, signal) => {
    const reading = {
      programs: context.programs,
      signal,
      onBytes: (bytes: number) => {
        result.bytesRead += bytes;
        progress.add(bytes);
      },
      onUnknown: (what: string) => {
        if (!result.unknown.includes(what)) result.unknown.push(what);
      },
    };
    try {
      await checkFile(reading, copy, manifest, file);
    } catch (error) {
      const known = ours(error);
      const { message, detail } = known;
      if (isOutage(known)) result.outages.push({ store: store.name, problem: message });
      else problems.push({ store: store.name, object: `${place}${file.name}`, problem: detail ?? message });
    }
  });
  return problems;
}

/** What a backup needs beside its files: WAL, or what pgBackRest keeps. Returns what makes every copy of no use. */
async function checkNeeds(
  context: VerifyContext,
  manifest: BackupManifest,
  problems: ObjectProblem[],
  result: VerifiedBackup,
): Promise<string[]> {
  const { programs, askPgbackrest } = context;
  if (manifest.pgbackrest !== null)
    return askPgbackrest === undefined
      ? ['pgBackRest cannot be asked on this host, and has all of its files']
      : await askPgbackrest(manifest.pgbackrest);
  if (programs.zstd === undefined) {
    if (manifest.physical?.wal === 'archive')
      result.unknown.push('zstd is not installed: no WAL was looked at');
    return [];
  }
  const wal = await checkNeededWal(
    { ...context, zstd: programs.zstd },
    context.walStores,
    manifest,
    context.walRequired,
  );
  problems.push(...wal.problems);
  // One segment that may be nowhere makes every copy doubtful; else an outage is told, and the copies are as good as they are.
  for (const name of wal.unknown)
    result.outages.push({ store: '-', problem: `WAL ${name}: ${wal.outages[0]?.problem ?? ''}` });
  for (const { store, problem } of wal.outages) {
    const what = `WAL in store "${store}": ${problem}`;
    if (!result.unknown.includes(what)) result.unknown.push(what);
  }
  return wal.lost.map((name) => `WAL ${name}, which it needs to be consistent, is whole in no store`);
}

/** What builds on a damaged or missing backup cannot be restored either. Its parent was verified before it. */
function addChain(result: VerifiedBackup, results: Map<string, VerifiedBackup>, all: SurveyedBackup[]): void {
  const parent = result.manifest === null ? null : parentOf(result.manifest);
  if (parent === null || result.manifest?.pgbackrest !== null) return;
  const verified = results.get(parent);
  if (verified !== undefined && verified.good.length > 0) return;
  result.good = [];
  if (verified !== undefined && verified.findings.length === 0 && verified.outages.length > 0) {
    result.outages.push({
      store: '-',
      problem: `it builds on backup ${parent}, which could not be asked for`,
    });
    return;
  }
  const isThere = all.some((item) => item.id === parent);
  const problem = isThere
    ? `it builds on backup ${parent}, of which no copy is good`
    : `it builds on backup ${parent}, which is not there`;
  result.findings = [
    ...result.findings.map((item) => ({ ...item, good: [] })),
    { backup: result.id, store: '-', object: parent, problem, good: [] },
  ];
}

/** A store that takes no mark is told: the next listing does not know of this verification then. */
async function mark(context: VerifyContext, result: VerifiedBackup): Promise<void> {
  for (const { store, place, manifest } of result.copies) {
    // Of what was not read through nothing is written down: the last verification stands.
    const isUnasked = result.outages.some((item) => item.store === store.name || item.store === '-');
    if (manifest === undefined || isUnasked) continue;
    const problems = result.findings
      .filter((item) => item.store === store.name || item.store === '-')
      .map((item) => `${item.object}: ${item.problem}`);
    try {
      await putMark(store, place, verifiedName, {
        formatVersion: 1,
        backup: result.id,
        at: new Date().toISOString(),
        passed: result.good.includes(store.name),
        files: manifest.files.length,
        bytes: manifest.files.reduce((sum, file) => sum + file.sizeBytes, 0),
        problems: problems.slice(0, 100),
        unknown: result.unknown,
        by: context.by,
      });
    } catch (error) {
      const { message } = ours(error);
      context.log.warn(
        { event: 'verification_not_marked', backup: result.id, store: store.name },
        `that ${result.id} was verified could not be written to store "${store.name}": ${message}`,
      );
    }
  }
}
