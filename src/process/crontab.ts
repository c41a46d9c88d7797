import { text } from 'node:stream/consumers';
import { DbopsError } from '../errors.ts';
import { startChild } from './child.ts';

/** The crontab of this user; empty when there is none. Throws tool_failed. */
export async function readCrontab(signal: AbortSignal): Promise<string> {
  const { process: child, finished } = startChild('crontab', ['-l'], { signal, env: { LC_ALL: 'C' } });
  child.stdin?.end();
  const output = child.stdout === null ? '' : await text(child.stdout).catch(() => '');
  try {
    await finished;
    return output;
  } catch (error) {
    // busybox: "crontab: can't open 'ops': No such file or directory".
    if (
      error instanceof DbopsError &&
      /no crontab for|can't open '.*': No such file/i.test(error.detail ?? '')
    )
      return '';
    throw withoutCron(error);
  }
}

/** Replaces the crontab of this user. Throws tool_failed with what crontab says of a line that it does not take. */
export async function writeCrontab(content: string, signal: AbortSignal): Promise<void> {
  const { process: child, finished } = startChild('crontab', ['-'], { signal, env: { LC_ALL: 'C' } });
  child.stdout?.resume();
  child.stdin?.end(content);
  await finished.catch((error: unknown) => {
    throw withoutCron(error);
  });
}

function withoutCron(error: unknown): unknown {
  if (!(error instanceof DbopsError) || !/ENOENT/.test(error.detail ?? '')) return error;
  return new DbopsError('tool_failed', 'crontab is not installed on this host', {
    hint: 'Install cron, or use "dbops schedule render --format systemd", k8s or pg_cron.',
    cause: error,
  });
}
