import type { DbopsError } from '../../errors.ts';
import { runHook } from '../../process/hook.ts';
import type { ArchiveContext } from '../context.ts';

/**
 * Runs `archive.onFailure` in a shell, with one JSON document on its standard input. A hook that fails is warned of, and
 * changes nothing else.
 */
export async function reportFailure(
  context: ArchiveContext,
  partition: string,
  error: DbopsError,
): Promise<void> {
  const command = context.settings.archive.onFailure;
  if (command === undefined) return;
  const problem = await runHook(command, {
    event: 'archive_failed',
    at: new Date().toISOString(),
    host: context.host,
    database: context.db.server.database,
    partition,
    error: { code: error.code, message: error.message, detail: error.detail, hint: error.hint },
  });
  if (problem !== undefined)
    context.log.warn({ event: 'hook_failed' }, `"archive.onFailure" failed: ${problem}`);
}
