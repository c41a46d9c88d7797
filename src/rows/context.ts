import type { RowsSettings } from '../config/rows.ts';
import type { Log } from '../output/log.ts';
import type { Db } from '../pg/connection.ts';
import type { Applied } from '../plan/apply.ts';
import type { Change } from '../plan/step.ts';
import type { History } from '../state/history.ts';

/** What a job over rows is handed. It touches neither the process nor the console. */
export interface RowsContext {
  db: Db;
  settings: { stateSchema: string; lockTimeoutMs: number; lockDeadlineMs: number; rows: RowsSettings };
  log: Log;
  signal: AbortSignal;
  /** The clock: the server's, or what a test set. */
  now: Date;
  history: History;
  /** Counts what took effect, for the exit code. */
  applied: Applied;
  /** How long to wait for another run's lock, in milliseconds. */
  waitMs: number;
  /** Shows the plan and asks, where the command needs it; throws confirmation_required when the answer is no. */
  consent: (changes: Change[], question: string) => Promise<void>;
}
