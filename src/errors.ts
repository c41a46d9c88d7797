/**
 * Every failure that dbops knows, with the exit code that it leaves behind. `dbops help exit-codes` prints the
 * meaning of the codes; anything that is not a DbopsError is a bug of ours and exits 1.
 */
export const errorCodes = {
  // usage and configuration
  usage: 2,
  config_invalid: 2,
  config_not_found: 2,
  config_exists: 2,
  table_not_found: 2,
  not_partitioned: 2,
  unsupported_partitioning: 2,
  key_contradicts: 2,
  interval_contradicts: 2,
  timezone_contradicts: 2,
  bounds_overlap: 2,
  name_collision: 2,
  store_unknown: 2,
  archive_not_found: 2,
  backup_not_found: 2,
  // cannot connect or authenticate
  connection_failed: 3,
  authentication_failed: 3,
  connection_lost: 3,
  // refused, nothing changed
  refused: 4,
  lock_busy: 4,
  lock_timeout: 4,
  statement_timeout: 4,
  privilege_missing: 4,
  read_only: 4,
  unsupported_version: 4,
  confirmation_required: 4,
  transaction_pooling: 4,
  constraint_violated: 4,
  object_changed: 4,
  out_of_resources: 4,
  sql_failed: 4,
  store_exists: 4,
  copy_damaged: 7,
  // the rest
  partly_done: 5,
  findings: 6,
  tool_failed: 7,
  store_failed: 7,
  store_denied: 7,
  store_missing: 7,
  output_failed: 7,
  interrupted: 130,
  terminated: 143,
} as const;

/** What each exit code means, as `dbops help exit-codes` prints it. */
export const exitCodeMeanings: readonly (readonly [code: string, meaning: string])[] = [
  ['0', 'done, or nothing to do'],
  ['1', 'unexpected: a bug in dbops'],
  ['2', 'usage or configuration'],
  ['3', 'cannot connect or authenticate'],
  [
    '4',
    'refused, and nothing was changed: a precondition, a busy lock, a missing --yes, a privilege, a version',
  ],
  ['5', 'partly done; running it again finishes it'],
  ['6', 'findings (partition check, archive verify, backup verify and drill, doctor)'],
  [
    '7',
    'an outside tool or a store failed, an archive or a backup is damaged, or the result could not be written',
  ],
  ['130', 'interrupted by Ctrl-C'],
  ['143', 'ended by SIGTERM or SIGHUP'],
];

export type ErrorCode = keyof typeof errorCodes;

export interface ErrorDetails {
  /** A full sentence that names the command, flag, GRANT or file that helps. */
  hint?: string | undefined;
  /** Evidence: the server's own words, the session that holds the lock. Lines are kept. */
  detail?: string | undefined;
  cause?: unknown;
}

/** A failure that dbops understands. The message is lower case, has no full stop, and names the object. */
export class DbopsError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly detail: string | undefined;
  readonly exitCode: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'DbopsError';
    this.code = code;
    this.hint = details.hint;
    this.detail = details.detail;
    this.exitCode = errorCodes[code];
  }
}

/** The same failure after something was already changed: exit 5, and the reason stays readable. */
export function afterChanges(error: DbopsError, done: string): DbopsError {
  if (![2, 3, 4].includes(error.exitCode)) return error;
  return new DbopsError('partly_done', `${error.message}; ${done}`, {
    hint: error.hint ?? 'Running the same command again finishes the work.',
    detail: error.detail,
    cause: error,
  });
}

/** The error of an interruption; the signal's reason is the name of what ended the run, such as SIGINT. */
export function interrupted(signal: AbortSignal): DbopsError {
  const isTermination = signal.reason === 'SIGTERM' || signal.reason === 'SIGHUP';
  return new DbopsError(
    isTermination ? 'terminated' : 'interrupted',
    `interrupted by ${String(signal.reason)}`,
    {
      hint: 'Running the same command again goes on from here.',
    },
  );
}
