import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import { isServerError, sqlStateOf } from '../../pg/sqlstate.ts';
import { listCollisions } from '../../sql/collisions.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { moveOf, type PeriodWork } from './period-work.ts';

/** So many keys are shown; who has more of them has another problem than one row. */
const shownKeys = 10;

/**
 * Throws partly_done naming the keys that have a row in both tables: an upsert, or an insert of a key that was moved,
 * does not see it there. Asked before the end of a period, so that nobody waits for a transaction that fails. Reads what
 * is left of the period. Locks: ACCESS SHARE.
 */
export async function refuseDoubles(db: Db, work: PeriodWork): Promise<void> {
  const { source, period } = work;
  const found = await listCollisions(db, moveOf(source, period), shownKeys);
  if (found.length === 0) return;
  const target = displayName(period.partition.table);
  const from = displayName(source.partition);
  throw new DbopsError(
    'partly_done',
    `${target} cannot be attached yet: keys that were moved into it were written to ${from} again`,
    {
      detail: found
        .map((row) => `unique index ${visible(row.index)}: ${visible(row.key)} is in both`)
        .join('\n'),
      hint: `Delete the row of each such key that is not wanted, from ${target} (the older one) or from ${from}, then run the same command again: it goes on from here.`,
    },
  );
}

/** What a refused constraint means for a period whose rows are out of the set, and what gets them back. */
export async function explainRefusal(db: Db, work: PeriodWork, error: unknown): Promise<unknown> {
  const state = sqlStateOf(error);
  if (state === undefined || !state.startsWith('23')) return error;
  if (state === '23505') await refuseDoubles(db, work);
  const { source, period } = work;
  const target = displayName(period.partition.table);
  const server = error instanceof DbopsError ? error.cause : error;
  const constraint = isServerError(server) ? server.constraint : undefined;
  const named = constraint === undefined ? 'a constraint' : `constraint ${visible(constraint)}`;
  const detail = [
    error instanceof Error ? error.message : String(error),
    error instanceof DbopsError ? error.detail : undefined,
    `until it is attached, rows of this period are not in ${source.set.label} but in ${target}`,
  ];
  return new DbopsError('partly_done', `${target} cannot be attached yet: ${named} refuses rows of it`, {
    detail: detail.filter((line) => line !== undefined).join('\n'),
    hint: `${remedies[state] ?? 'Correct or delete those rows'} (in ${target} or ${displayName(source.partition)}), then run the same command again: it goes on from here.`,
    cause: error,
  });
}

const remedies: Record<string, string> = {
  '23503': 'Give the rows that point at nothing what they point at, or delete them',
  '23505': 'Delete the row of that key that is not wanted',
  '23514': 'Correct the rows that the CHECK refuses, or delete them',
};
