import { DbopsError } from '../errors.ts';

/** A table that cannot be worked on, and why. */
export interface Problem {
  table: string;
  error: DbopsError;
}

/** One error out of many: the only one as it is, several with each in the detail. */
export function combineProblems(
  problems: Problem[],
  hint = 'Nothing was changed. --keep-going does the other tables all the same.',
): DbopsError {
  const [first] = problems;
  if (first === undefined) throw new Error('no problem to combine');
  if (problems.length === 1) return first.error;
  return new DbopsError(first.error.code, `${String(problems.length)} tables cannot be worked on`, {
    detail: problems
      .map(({ error }) =>
        [error.message, error.detail, error.hint].filter((text) => text !== undefined).join('\n  '),
      )
      .join('\n'),
    hint,
  });
}

/**
 * Does the work of each table. A lock that one of them cannot have does not stop the others; what stopped them is thrown
 * at the end.
 */
export async function forEachTable<Item>(
  items: Item[],
  labelOf: (item: Item) => string,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const problems: Problem[] = [];
  for (const item of items) {
    try {
      await work(item);
    } catch (error) {
      if (!(error instanceof DbopsError) || !['lock_timeout', 'lock_busy'].includes(error.code)) throw error;
      problems.push({ table: labelOf(item), error });
    }
  }
  if (problems.length > 0) throw combineProblems(problems, 'Run it again when those sessions have ended.');
}
