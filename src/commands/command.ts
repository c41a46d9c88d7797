import type { Command as Commander } from 'commander';
import type { Settings } from '../config/settings.ts';
import type { Environment } from '../config/environment.ts';
import type { Log } from '../output/log.ts';
import type { Db } from '../pg/connection.ts';
import type { Applied } from '../plan/apply.ts';
import type { Change } from '../plan/step.ts';
import type { JobContext } from '../partition/context.ts';
import type { Outcome } from '../state/history.ts';

/** Flags that every command takes. */
export interface GlobalOptions {
  config?: string;
  url?: string;
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
  logFormat?: string;
}

/** Flags that several commands take; which ones a command has, it declares. */
export interface SharedOptions extends GlobalOptions {
  dryRun?: boolean;
  /** Looks only, like a dry run: nothing is changed and no run is recorded. */
  check?: boolean;
  yes?: boolean;
  wait?: string;
}

/** What a command hands back: data for --json, text for people, and what to warn of. */
export interface Result {
  data: unknown;
  text: string | Promise<string>;
  warnings?: string[];
  /** 0 unless the command has found something (6) or left work (5). */
  exitCode?: number;
  /** What the history says, where the exit code does not tell it. */
  recorded?: { outcome: Outcome; message: string | null };
}

/** What a command's `run` is given. */
export interface CommandContext<Options> {
  args: string[];
  options: Options & SharedOptions;
  settings: Settings;
  env: Environment;
  cwd: string;
  log: Log;
  signal: AbortSignal;
  applied: Applied;
  /** Opens the session on first call; the runner closes it. */
  connect: () => Promise<Db>;
  /** The clock of the server, or what DBOPS_TEST_NOW says. */
  now: (db: Db) => Date;
  /** Everything that a job of the domain needs. Refuses transaction pooling and read-only servers when it changes. */
  job: (target: string | null) => Promise<JobContext>;
  /** Prints a plan as a psql script instead of running it. */
  dryRun: (changes: Change[], title: string, warnings?: string[]) => Result;
}

export interface Example {
  command: string;
  about: string;
}

/** A command: its flags, its examples, and one call into the domain. */
export interface CommandDefinition<Options = object> {
  /** Declares arguments and options. */
  declare(command: Commander): void;
  examples: Example[];
  /** Behind the options in the help. */
  notes?: string;
  /** Whether it changes the database: refused on a standby, recorded in the history. Some do with a certain flag only. */
  changes: boolean | ((options: Options & SharedOptions) => boolean);
  /** Whether it runs on a standby all the same: it changes stores, and leaves the database as it is. */
  worksOnStandby?: (options: Options & SharedOptions) => boolean;
  /** Settings are not read: for commands that work without a configuration. */
  needsSettings?: boolean;
  /** For programs that give exit codes a meaning of their own: what is left behind for one of ours. */
  exitCode?: (code: number) => number;
  /** For readers of stdout that want an answer also where there is none: what they get instead of nothing. */
  failure?: (error: unknown, options: Options & SharedOptions) => Told | undefined;
  run(context: CommandContext<Options>): Promise<Result>;
}

/** What a run that failed leaves on stdout, and with which exit code. */
export interface Told {
  text: string;
  exitCode: number;
}

/** Keeps the options' type within a command's file. */
export function defineCommand<Options>(definition: CommandDefinition<Options>): CommandDefinition {
  return definition as unknown as CommandDefinition;
}
