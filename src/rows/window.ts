import type { Db } from '../pg/connection.ts';
import type { RelationName } from '../sql/quote.ts';
import { findWindowEnd, type KeyColumn, type Stretch } from '../sql/rows-batch.ts';

/** The most that one statement of a batch may take, in milliseconds. */
export const batchStatementTimeoutMs = 5000;

/** Rows in a block, guessed for the first batch; the measured time corrects it. */
const rowsInBlock = 50;

/** The first piece of a stretch that has about so many rows. */
export async function windowOf(
  db: Db,
  keys: KeyColumn[],
  leaf: RelationName,
  stretch: Stretch,
  size: number,
): Promise<Stretch> {
  const { upto, after } = stretch;
  if (stretch.only === true) return stretch;
  if (typeof upto === 'number') {
    return { ...stretch, upto: Math.min(Number(after ?? 0) + Math.ceil(size / rowsInBlock), upto) };
  }
  return { ...stretch, upto: await findWindowEnd(db, leaf, keys, { ...stretch, upto }, size) };
}
