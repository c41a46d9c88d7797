import type { Settings } from '../../config/settings.ts';
import type { Log } from '../../output/log.ts';
import type { Tool } from '../../process/tools.ts';
import type { Store } from '../../storage/store.ts';
import type { JobContext } from '../../partition/context.ts';
import type { FoundBackup } from '../catalogue/find.ts';
import type { DrillClock } from './clock.ts';
import type { Proof } from './report.ts';
import type { ReadObjects } from './stored.ts';

/** What a drill is handed. There need not be a source any more: a drill is for that day. */
export interface DrillContext {
  settings: Settings;
  log: Log;
  signal: AbortSignal;
  openStore: (name: string) => Promise<Store>;
  findTools: (names: string[]) => Promise<Tool[]>;
  host: string;
  osUser: string;
  version: string;
  /** Where scratch clusters are made; it is there. */
  directory: string;
  jobs: number;
  /** The source, where it can be reached and takes writes; else why not. */
  source: JobContext | string;
  /** The database that own checks are asked in, where a whole cluster is restored; undefined: its largest. */
  database: string | undefined;
  /** Variables that the restore_command needs. */
  environment: Record<string, string>;
  /** The restore_command for WAL of a cluster, with %f and %p; only these stores are asked. */
  restoreCommand: (systemIdentifier: string, stores: string[]) => string;
}

/** What one drill knows while it runs. */
export interface Drilling extends DrillContext {
  drill: string;
  /** By the clock of the source where it is there: what the age of a backup is counted from. */
  begunAt: Date;
  backup: FoundBackup;
  clock: DrillClock;
  /** What was read of the stores so far. */
  read: ReadObjects;
  keep: boolean;
  /** What a reader should know beside the proofs. */
  warnings: string[];
}

/** What came out of the restore, of either sort. */
export interface Drilled {
  server: 'scratch' | 'url';
  target: string | null;
  reached: string | null;
  replayedSegments: number | null;
  /** Stored bytes that the restore itself read. */
  fetchedBytes: number;
  /** The last moment that came back. */
  recoveredTo: Date | null;
  /** How old that was when the restore began, in seconds; null: nobody can tell. */
  ageSeconds: number | null;
  proofs: Proof[];
  keptIn: string | null;
}
