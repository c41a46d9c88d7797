import type { Db } from '../pg/connection.ts';
import {
  listSequences,
  listSequenceValues,
  type Sequence,
  type SequencesRow,
  type SequenceValuesRow,
} from '../sql/health-sequences.ts';

/** How many sequences are locked at a time; a server has room for some thousand locks. */
export const sequencesAtOnce = 500;

/** A sequence with what it has given so far. */
export interface UsedSequence extends Sequence {
  /** Null where it was never used. */
  lastValue: number | null;
}

/** All sequences that end somewhere: those whose last value can be read, and the others. */
export async function readSequences(db: Db): Promise<{ read: UsedSequence[]; unread: Sequence[] }> {
  const [answer] = await db.query<SequencesRow>(listSequences());
  const all = answer?.sequences ?? [];
  const readable = all.filter(({ mayRead, isLocked }) => mayRead && !isLocked);
  const values: SequenceValuesRow['lastValues'] = {};
  for (let from = 0; from < readable.length; from += sequencesAtOnce) {
    const oids = readable.slice(from, from + sequencesAtOnce).map(({ oid }) => oid);
    const [row] = await db.query<SequenceValuesRow>(listSequenceValues(oids));
    Object.assign(values, row?.lastValues);
  }
  const read = readable.flatMap((sequence) => {
    const lastValue = values[sequence.oid];
    // One that was dropped meanwhile has none.
    return lastValue === undefined ? [] : [Object.assign(sequence, { lastValue })];
  });
  return { read, unread: all.filter(({ mayRead, isLocked }) => !mayRead || isLocked) };
}
