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
 * Does the work of each table. What one of them is refused (a lock, a privilege, a dependency) does not stop the others;
 * it is thrown at the end.
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
      if (!(error instanceof DbopsError) || error.exitCode !== 4) throw error;
      problems.push({ table: labelOf(item), error });
    }
  }
  if (problems.length > 0)
    throw combineProblems(problems, 'The others were done; run it again when what is in the way is gone.');
}

/** For id sets whose sequence this role may not read, or that have none. */
export function positionUnknown(label: string): DbopsError {
  return new DbopsError('refused', `${label}: how far its ids have come cannot be told`, {
    hint: 'Its key needs a sequence (identity, serial or a default with nextval) that this role may read: GRANT SELECT ON SEQUENCE.',
  });
}
