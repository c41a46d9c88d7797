import { DbopsError } from '../../../errors.ts';

/** Of what pg_dump -v says, that which belongs into the message of a failure. */
export function keepComplaints(line: string): boolean {
  return /\b(error|warning|detail|hint|fatal|panic)\b:?/i.test(line) || !/^pg_\w+: /.test(line);
}

/** pg_dump has its locks, and reads in the snapshot from here on. */
export function isPastLocks(line: string): boolean {
  return / saving encoding = | dumping contents of table /.test(line);
}

/**
 * The table that pg_dump could not lock in time; empty where it is one of many, which pg_dump 16 and later lock by one
 * statement; undefined where it failed for another reason.
 */
export function busyTable(error: unknown): string | undefined {
  if (!(error instanceof DbopsError) || error.code !== 'tool_failed') return undefined;
  const { detail = '' } = error;
  if (!/canceling statement due to (lock|statement) timeout|could not obtain lock on relation/.test(detail)) {
    return undefined;
  }
  const one = /LOCK TABLE (?:ONLY )?((?:"(?:[^"]|"")*"|[^",\s])+) IN ACCESS SHARE MODE/.exec(detail);
  return one?.[1] ?? '';
}

const hints: [RegExp, string][] = [
  [
    /permission denied for large object/,
    'pg_read_all_data does not reach large objects: grant select on large object <oid> to <role>, or back up as a superuser.',
  ],
  [
    /permission denied for/,
    'Give the role what it lacks: grant pg_read_all_data to <role>; it reads everything and changes nothing.',
  ],
  [
    /row-level security|row security/,
    'The role may not see all rows of a table with row security: alter role <role> bypassrls, or back up as the owner.',
  ],
  [
    /No space left on device/,
    'Set "backup.workDirectory" to a place with more space, or give --stream, which needs none and is slower.',
  ],
  [
    /server version mismatch/,
    'Install the client programs of the server\'s own major version; "dbops doctor" lists what is found.',
  ],
];

/** The same failure, with what helps. */
export function withHint(error: unknown): unknown {
  if (!(error instanceof DbopsError) || error.hint !== undefined) return error;
  const hint = hints.find(([pattern]) => pattern.test(`${error.message}\n${error.detail ?? ''}`))?.[1];
  if (hint === undefined) return error;
  return new DbopsError(error.code, error.message, { detail: error.detail, hint, cause: error });
}
