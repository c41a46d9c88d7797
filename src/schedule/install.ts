import { DbopsError } from '../errors.ts';
import { readCrontab, writeCrontab } from '../process/crontab.ts';
import { crontabDifference } from './render/crontab.ts';

/** What becomes of a crontab. */
export interface CrontabChange {
  before: string;
  after: string;
  /** Lines that go and come. */
  difference: string[];
}

/** What would be changed. `change` makes the new crontab of the old one. Throws tool_failed, and refused from `change`. */
export async function planCrontab(
  change: (crontab: string) => string,
  signal: AbortSignal,
): Promise<CrontabChange> {
  const before = await readCrontab(signal);
  const after = change(before);
  return { before, after, difference: crontabDifference(before, after) };
}

/**
 * Writes the crontab, unless somebody has edited it since it was read, and looks whether cron has taken it. Throws
 * object_changed when it is another one meanwhile; nothing is written then.
 */
export async function applyCrontab({ before, after }: CrontabChange, signal: AbortSignal): Promise<void> {
  if (before === after) return;
  // There is no lock that editors of a crontab share: what remains is the moment between these two calls.
  if ((await readCrontab(signal)) !== before)
    throw new DbopsError('object_changed', 'the crontab was changed by somebody else meanwhile', {
      hint: 'Nothing was written. Run the command again.',
    });
  await writeCrontab(after, signal);
  if ((await readCrontab(signal)) === after) return;
  throw new DbopsError('partly_done', 'the crontab is not what was written to it', {
    hint: 'Somebody has edited it at the same time, or cron has changed it: look at it with "crontab -l".',
  });
}
