import { DbopsError } from '../../errors.ts';

/**
 * An error of the file system below a directory of ours (full, not to be written) as tool_failed; any other as it is. The
 * words of Node name the path.
 */
export function workError(error: unknown, directory: string): unknown {
  if (error instanceof DbopsError || !(error instanceof Error)) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return error;
  return new DbopsError('tool_failed', `the work directory ${directory} cannot be used`, {
    detail: error.message,
    hint: 'It needs room for Parquet and about 1 GB of plain rows: free some, or set archive.workDirectory to another one.',
    cause: error,
  });
}
