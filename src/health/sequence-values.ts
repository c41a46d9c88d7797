import type { Db } from '../pg/connection.ts';
import {
  listSequences,
  listSequenceValues,
  type SequenceRow,
  type SequenceValueRow,
} from '../sql/health-sequences.ts';

/** How many sequences are locked at a time; a server has room for some thousand locks. */
export const sequencesAtOnce = 500;

/** A sequence with what it has given so far. */
export interface UsedSequence extends SequenceRow {
  /** Null where it was never used. */
  lastValue: number | null;
}

/** All sequences that end somewhere: those whose last value can be read, and the others. */
export async function readSequences(db: Db): Promise<{ read: UsedSequence[]; unread: SequenceRow[] }> {
  const all = await db.query<SequenceRow>(listSequences());
  const readable = all.filter(({ mayRead, isLocked }) => mayRead && !isLocked);
  const values = new Map<number, number | null>();
  for (let from = 0; from < readable.length; from += sequencesAtOnce) {
    const oids = readable.slice(from, from + sequencesAtOnce).map(({ oid }) => oid);
    for (const { oid, lastValue } of await db.query<SequenceValueRow>(listSequenceValues(oids)))
      values.set(oid, lastValue);
  }
  const read = readable.flatMap((row) => {
    const lastValue = values.get(row.oid);
    // One that was dropped meanwhile has no row.
    return lastValue === undefined ? [] : [{ ...row, lastValue }];
  });
  return { read, unread: all.filter(({ mayRead, isLocked }) => !mayRead || isLocked) };
}
