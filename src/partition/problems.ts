import { DbopsError } from '../errors.ts';

/** A table that cannot be worked on, and why. */
export interface Problem {
  table: string;
  error: DbopsError;
}

/** One error out of many: the only one as it is, several with each in the detail. */
export function combineProblems(problems: Problem[]): DbopsError {
  const [first] = problems;
  if (first === undefined) throw new Error('no problem to combine');
  if (problems.length === 1) return first.error;
  return new DbopsError(first.error.code, `${String(problems.length)} tables cannot be worked on`, {
    detail: problems
      .map(({ error }) =>
        [error.message, error.detail, error.hint].filter((text) => text !== undefined).join('\n  '),
      )
      .join('\n'),
    hint: 'Nothing was changed. --keep-going does the other tables all the same.',
  });
}
