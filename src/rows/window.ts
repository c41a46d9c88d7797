import type { Db } from '../pg/connection.ts';
import type { RelationName } from '../sql/quote.ts';
import { findWindowEnd, lineNumbers, type KeyColumn, type Stretch } from '../sql/rows-batch.ts';

/** The most that one statement of a batch may take, in milliseconds. */
export const batchStatementTimeoutMs = 5000;

/** Rows in a block, guessed for the first batch; the measured time corrects it. */
const rowsInBlock = 50;

/**
 * The most rows in a block of 8 kB: each takes a header of 24 bytes and a line pointer of 4 ("MaxHeapTuplesPerPage" in
 * src/include/access/htup_details.h). In larger blocks the last piece is larger.
 */
const linesInBlock = 291;

/** Where a window of about so many rows ends. Few rows are a piece of a block: some are slow one by one. Pure. */
export function placeBehind(after: number, size: number): number {
  const block = Math.floor(after);
  if (size >= rowsInBlock) return block + Math.ceil(size / rowsInBlock);
  const line = Math.round((after - block) * lineNumbers) + size;
  return line > linesInBlock ? block + 1 : block + line / lineNumbers;
}

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
    return { ...stretch, upto: Math.min(placeBehind(Number(after ?? 0), size), upto) };
  }
  return { ...stretch, upto: await findWindowEnd(db, leaf, keys, { ...stretch, upto }, size) };
}
