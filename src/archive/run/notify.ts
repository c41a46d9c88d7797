import type { DbopsError } from '../../errors.ts';
import { startChild } from '../../process/child.ts';
import type { ArchiveContext } from '../context.ts';

/** How long the hook may take: it must not hold up the other partitions. */
const hookTimeoutMs = 30_000;

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
  const message = {
    event: 'archive_failed',
    at: new Date().toISOString(),
    host: context.host,
    database: context.db.server.database,
    partition,
    error: { code: error.code, message: error.message, detail: error.detail, hint: error.hint },
  };
  try {
    const hook = startChild('/bin/sh', ['-c', command], { signal: AbortSignal.timeout(hookTimeoutMs) });
    hook.process.stdout?.resume();
    hook.process.stdin?.end(`${JSON.stringify(message)}\n`);
    await hook.finished;
  } catch (reason) {
    context.log.warn(
      { event: 'hook_failed' },
      `"archive.onFailure" failed: ${reason instanceof Error ? reason.message : String(reason)}`,
    );
  }
}
