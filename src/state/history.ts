import { hostname, userInfo } from 'node:os';
import { DbopsError } from '../errors.ts';
import type { Log } from '../output/log.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import type { Db } from '../pg/connection.ts';
import { sqlStateOf } from '../pg/sqlstate.ts';
import {
  findStateVersion,
  finishRun,
  insertRun,
  markInterruptedRuns,
  migrationStatements,
  stateVersion,
} from '../sql/state.ts';

/**
 * Makes or migrates the state schema. Throws privilege_missing when the role may not, and refused when a newer dbops
 * wrote it.
 */
export async function ensureState(db: Db, schema: string): Promise<void> {
  const version = await findStateVersion(db, schema);
  if (version > stateVersion) {
    throw new DbopsError(
      'refused',
      `the schema "${schema}" was written by a newer dbops (version ${String(version)})`,
      {
        hint: 'Use the newer dbops on this database.',
      },
    );
  }
  if (version === stateVersion) return;
  await withAdvisoryLock(db, 'state', { waitMs: 10_000 }, async () => {
    const now = await findStateVersion(db, schema);
    await db.executeTransaction(migrationStatements(schema, now));
  });
}

export type Outcome = 'done' | 'nothing to do' | 'partly done' | 'failed' | 'interrupted';

export interface HistoryOptions {
  schema: string;
  command: string;
  target: string | null;
  version: string;
  log: Log;
  /** Records nothing: the server takes no rows. */
  isOff?: boolean;
}

/**
 * Records one run: a row that says "running" before the first change, completed at the end; a run that changed nothing
 * writes one row at its end. A history that cannot be written is a warning, never a reason to stop the work.
 */
export class History {
  readonly #options: HistoryOptions;
  readonly #started = performance.now();
  #id: bigint | undefined;
  #plan: unknown = null;
  #isBroken = false;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#isBroken = options.isOff === true;
  }

  /** The id of the row, once `begin` has written it. */
  get runId(): bigint | undefined {
    return this.#id;
  }

  /** Writes that the run has begun, with its plan. */
  async begin(db: Db, plan: unknown): Promise<void> {
    this.#plan = plan;
    await this.#guarded(async () => {
      this.#id = await this.#insert(db, 'running', null, 0, null);
      await markInterruptedRuns(db, this.#options.schema);
    });
  }

  /** Writes how the run ended. */
  async finish(db: Db, outcome: Outcome, message: string | null, changes: number): Promise<void> {
    if (this.#isBroken) return;
    const durationMs = performance.now() - this.#started;
    await this.#guarded(async () => {
      if (this.#id === undefined) this.#id = await this.#insert(db, outcome, message, changes, durationMs);
      else await finishRun(db, this.#options.schema, this.#id, { outcome, message, changes, durationMs });
    });
  }

  /** One statement when the schema is there and new enough; it is made when it is not. */
  async #insert(
    db: Db,
    outcome: string,
    message: string | null,
    changes: number,
    durationMs: number | null,
  ): Promise<bigint | undefined> {
    const { schema, command, target, version } = this.#options;
    const run = {
      command,
      target,
      plan: this.#plan,
      outcome,
      message,
      changes,
      durationMs,
      version,
      host: hostname(),
      osUser: osUser(),
    };
    try {
      const id = await insertRun(db, schema, run);
      if (id !== undefined) return id;
    } catch (error) {
      // undefined_table, invalid_schema_name: the schema is not there yet.
      if (!['42P01', '3F000'].includes(sqlStateOf(error) ?? '')) throw error;
    }
    await ensureState(db, schema);
    return await insertRun(db, schema, run);
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    if (this.#isBroken) return;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof DbopsError) || error.exitCode === 3) throw error;
      this.#isBroken = true;
      this.#options.log.warn(
        { event: 'history_not_recorded', reason: error.message },
        `this run is not recorded in the history: ${error.message}${error.hint === undefined ? '' : `\n  ${error.hint}`}`,
      );
    }
  }
}

/** A process may run under a user id that has no name. */
function osUser(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown';
  }
}
