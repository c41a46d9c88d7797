import type { Settings } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import type { Log } from '../../output/log.ts';
import { runHook } from '../../process/hook.ts';

/** Says that there is no backup, in the log and to `backup.onFailure`. `database` is null where none was reached. */
export async function reportFailure(
  { settings, log }: { settings: Settings; log: Log },
  { host, database, kind }: { host: string; database: string | null; kind: string },
  error: unknown,
): Promise<void> {
  const known = error instanceof DbopsError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  log.error({ event: 'backup_failed', kind, code: known?.code ?? 'bug' }, `no backup (${kind}): ${message}`);
  const command = settings.backup.onFailure;
  if (command === undefined) return;
  const problem = await runHook(command, {
    event: 'backup_failed',
    at: new Date().toISOString(),
    host,
    database,
    kind,
    error: { code: known?.code ?? 'bug', message, detail: known?.detail, hint: known?.hint },
  });
  if (problem !== undefined) log.warn({ event: 'hook_failed' }, `"backup.onFailure" failed: ${problem}`);
}
