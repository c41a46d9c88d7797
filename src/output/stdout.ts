import { DbopsError } from '../errors.ts';

/**
 * Writes the result. A consumer that has gone away (a closed pipe) is no error of ours: the rest is dropped. One that
 * only stops reading is waited for: pipes are written whole before the process ends.
 */
export async function writeStdout(text: string): Promise<void> {
  if (text === '') return;
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (error === undefined || error === null) resolve();
      else if (isClosedPipe(error)) resolve();
      else
        reject(
          new DbopsError('output_failed', `cannot write the result: ${error.message}`, { cause: error }),
        );
    });
  });
}

/** EPIPE: the reader has gone. */
export function isClosedPipe(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED')
  );
}
