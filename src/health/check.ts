import type { Settings } from '../config/settings.ts';
import type { Log } from '../output/log.ts';
import type { Db, Query, ServerFacts } from '../pg/connection.ts';
import type { HealthFacts } from '../sql/health-facts.ts';
import type { Store } from '../storage/store.ts';
import type { Severity, Unit } from './finding.ts';

/** In the order of the report. */
export const groups = [
  'connections',
  'transactions',
  'locks',
  'wraparound',
  'replication',
  'archiving',
  'backups',
  'partitions',
  'vacuum',
  'bloat',
  'indexes',
  'sequences',
  'cache',
  'checkpoints',
  'activity',
  'settings',
  'extensions',
  'checksums',
  'sizes',
  'disk',
  'statements',
  'jobs',
  'custom',
] as const;
export type Group = (typeof groups)[number];

/** What runs when: each profile names the checks of its own occasion. */
export const profiles = ['daily', 'weekly', 'monthly', 'deploy'] as const;
export type Profile = (typeof profiles)[number];

/** From where an observation is a warning, and from where it is critical. */
export interface Thresholds {
  unit: Unit;
  /** above: larger is worse. below: smaller is worse. */
  worse: 'above' | 'below';
  warn: number;
  /** Null: never critical. */
  crit: number | null;
}

/** What a check has seen of one object. The runner judges `value` by the thresholds of that object. */
export interface Observation {
  object: string | null;
  /** In the unit of the thresholds; null where it could not be read, which is unknown. */
  value: number | null;
  /** What was seen, with the number for people. */
  message: string;
  detail?: string | undefined;
  /** Instead of the check's own advice. */
  advice?: string | undefined;
  /** The command or the statement that mends this one. */
  mend?: string | undefined;
  /** For yes-or-no checks, and for what no number says. */
  severity?: Exclude<Severity, 'skipped'> | undefined;
}

/** What a check looked at. */
export interface Look {
  observations: Observation[];
  /** What is said when nothing is wrong: "412 tables, the worst at 12 %". */
  summary: string;
  /** Since when its figures count, where that is not the last reset of the statistics of the database. */
  countedSince?: Date | undefined;
  /** Why it does not apply here, where only the look can tell; then nothing else counts. */
  skipped?: string | undefined;
}

/** What a check is given. */
export interface CheckContext {
  db: Db;
  facts: HealthFacts;
  settings: Settings;
  now: Date;
  signal: AbortSignal;
  log: Log;
  openStore: (name: string) => Promise<Store>;
  /** What it is judged by, where no object has its own. */
  thresholds: Thresholds | undefined;
  /** The mildest threshold of any object: what is better than that need not be told. */
  floor: number;
}

/** What statements are made from. */
export interface QuestionContext {
  server: Pick<ServerFacts, 'versionNum' | 'database' | 'isStandby'>;
  facts: HealthFacts;
  settings: Settings;
  floor: number;
}

interface CheckBase {
  /** group.name, stable: thresholds, --only and monitoring name it. */
  id: string;
  group: Group;
  /** What it answers: "how many of the connections are taken". */
  answers: string;
  /** Why that matters, for `health explain`. */
  why: string;
  /** What to do about it. */
  advice: string;
  thresholds?: Thresholds;
  /** Where the thresholds come from. */
  source?: string;
  /** Predefined roles of which any one is enough; a superuser always is. Without them it is unknown, never ok. */
  privilege?: readonly string[];
  /** An extension of this database without which it is unknown. */
  extension?: string;
  /** From this server_version_num on; skipped before. */
  since?: number;
  /** A standby has none of it: skipped there, with this as the reason. */
  notOnStandby?: string;
  /** A primary has none of it: skipped there, with this as the reason. */
  notOnPrimary?: string;
  profiles: readonly Profile[];
  /** Whether the numbers count since the statistics were reset. */
  isCounted?: boolean;
  /** So many hours of statistics it takes to say anything. */
  countedHours?: number;
}

/** A check that one statement answers. */
export interface SqlCheck<Row extends object> extends CheckBase {
  question: (context: QuestionContext) => Query;
  judge: (rows: Row[], context: Omit<CheckContext, 'db'>) => Look;
}

/** A check that asks otherwise: a catalogue of backups, a file system, several statements. */
export interface OtherCheck extends CheckBase {
  /** What it asks, in words, for `health explain`. */
  asks: string;
  look: (context: CheckContext) => Promise<Look>;
}

// Rows differ from check to check; sqlCheck() ties a question to its judge.
export type Check = SqlCheck<never> | OtherCheck;

/** Keeps the rows of a question and what judges them together. */
export function sqlCheck<Row extends object>(check: SqlCheck<Row>): Check {
  return check;
}

/** It does not apply here, and the look has told why. */
export function skip(reason: string): Look {
  return { observations: [], summary: reason, skipped: reason };
}

/** Nothing further to say of anything. */
export function allWell(summary: string): Look {
  return { observations: [], summary };
}
