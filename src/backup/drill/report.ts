import type { BackupKind, BackupSettings } from '../../config/backup.ts';
import { durationMs } from '../../config/duration.ts';
import { DbopsError } from '../../errors.ts';
import { humanSeconds } from '../../output/human.ts';
import type { DrillMark } from '../catalogue/marks.ts';

/** failed: wrong; unknown: could not be looked at, which is never the same as fine. */
export type Outcome = 'ok' | 'failed' | 'unknown';

/** One thing that a drill looked at. */
export interface Proof {
  /** Stable: programs look for it. */
  name: string;
  outcome: Outcome;
  /** What was seen, or why it could not be looked at. */
  detail: string;
}

/** How long the parts of a drill took, in seconds; null: there was none, or it never came to that. */
export interface DrillTimes {
  /** Reading the stores and unpacking. */
  fetch: number | null;
  /** Loading a dump, or reading WAL until the target is reached. */
  restore: number | null;
  /** Making the scratch cluster for a dump; from the end of the recovery to the first session. */
  open: number | null;
  verify: number | null;
}

/** What a drill found; lies beside the backup as drill.json. */
export interface DrillReport extends DrillMark {
  /** Of this drill. */
  drill: string;
  kind: BackupKind;
  database: string | null;
  /** ISO 8601, UTC; `at` is the end. */
  startedAt: string;
  by: { dbops: string; host: string; osUser: string };
  /** Where it was restored to: a server of its own, or the one of backup.drill.url. */
  server: 'scratch' | 'url';
  /** Why nothing that needs the source was looked at; null: it took part. */
  withoutSource: string | null;
  /** What the recovery was told to reach, and what it reached; null for a dump. */
  target: string | null;
  reached: string | null;
  seconds: DrillTimes;
  /** Stored bytes that were read, and how many a second while they were fetched. */
  fetchedBytes: number;
  fetchedBytesPerSecond: number | null;
  rto: { seconds: number | null; promisedSeconds: number };
  /** `recoveredTo`: the last moment that came back. */
  rpo: { seconds: number | null; promisedSeconds: number; recoveredTo: string | null };
  proofs: Proof[];
  /** What a reader should know, a sentence each. */
  warnings: string[];
  /** Where it was left, with --keep. */
  keptIn: string | null;
}

/** A drill passed when nothing failed; what is unknown is told, and is no failure. Pure. */
export function hasPassed(proofs: Proof[]): boolean {
  return proofs.every((proof) => proof.outcome !== 'failed');
}

const physicalKinds: readonly BackupKind[] = ['base', 'incremental', 'snapshot', 'pgbackrest'];

/** Whether a backup is one of the whole cluster, made of its files. Pure. */
export function isPhysical(kind: BackupKind): boolean {
  return physicalKinds.includes(kind);
}

/** What was promised for backups of a kind, in seconds. Pure. */
export function promiseFor(
  kind: BackupKind,
  promise: BackupSettings['promise'],
): { rtoSeconds: number; rpoSeconds: number } {
  const [rto, rpo] = isPhysical(kind) ? [promise.pitrRto, promise.pitrRpo] : [promise.rto, promise.rpo];
  return { rtoSeconds: durationMs(rto) / 1000, rpoSeconds: durationMs(rpo) / 1000 };
}

/** Compares what was measured with what was promised. Pure. */
export function judgePromise(
  name: 'rto' | 'rpo',
  seconds: number | null,
  promisedSeconds: number,
  unknown: string,
): Proof {
  if (seconds === null) return { name, outcome: 'unknown', detail: unknown };
  const figures = `${humanSeconds(seconds)}, and ${humanSeconds(promisedSeconds)} is promised`;
  return seconds <= promisedSeconds
    ? { name, outcome: 'ok', detail: figures }
    : { name, outcome: 'failed', detail: `it exceeds the promise: ${figures}` };
}

/**
 * Looks at one thing. What it throws is its failure: a drill that cannot show something has not shown it. Only an
 * interruption, and a bug of ours, is thrown on.
 */
export async function prove(name: string, look: () => Promise<Omit<Proof, 'name'>>): Promise<Proof> {
  try {
    return { name, ...(await look()) };
  } catch (error) {
    return { name, outcome: 'failed', detail: reasonText(error) };
  }
}

/** Why something failed, in one text. Throws an interruption, and what is no DbopsError, on. */
export function reasonText(error: unknown): string {
  if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
  return error.detail === undefined || error.detail === ''
    ? error.message
    : `${error.message}: ${error.detail}`;
}

/** The first few of many, for one line. Pure. */
export function some(items: readonly string[], most = 5): string {
  const shown = items.slice(0, most).join(', ');
  return items.length > most ? `${shown} and ${String(items.length - most)} more` : shown;
}
