import { durationMs } from '../../config/duration.ts';
import type { PartitionSettings, Settings } from '../../config/settings.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { defaultNaming, namingProblem } from '../model/naming.ts';

/** What is wrong with the configured tables as far as it can be told without a database. */
export interface EntryFindings {
  /** What `partition ensure` would refuse. */
  errors: string[];
  /** What it would do, though hardly anybody means it. */
  warnings: string[];
}

/** Checks naming templates and the sizes of retention against the intervals. Pure. */
export function checkEntries(settings: Settings): EntryFindings {
  const errors: string[] = [];
  const warnings: string[] = [];
  const file = settings.files.find((item) => item.settings.partitions !== undefined);
  for (const [index, item] of settings.partitions.entries()) {
    const at = (field: string) =>
      file?.locate(['partitions', index, field]) ?? `partitions[${String(index)}].${field}`;
    const problem = item.naming === undefined ? undefined : namingProblem(item.naming, item.interval);
    if (problem !== undefined) {
      errors.push(
        `${at('naming')}: ${visible(item.naming ?? '')}: ${problem} (the default is ${defaultNaming(item.interval)})`,
      );
    }
    const label = displayName(item);
    if (item.premake === 0) {
      warnings.push(
        `${at('premake')}: ${label} gets no partition ahead: the first insert of the next period fails if "partition ensure" has not run by then`,
      );
    }
    const short = shortRetention(item);
    if (short !== undefined) warnings.push(`${at('retention')}: ${label}: ${short}`);
  }
  return { errors, warnings };
}

const intervalDays = { hour: 1 / 24, day: 1, week: 7, month: 28, quarter: 90, year: 365 };

/** Retention far shorter than a period hardly ever is what was meant. */
function shortRetention(item: PartitionSettings): string | undefined {
  const hot = item.retention?.hot;
  if (hot === undefined) return undefined;
  if (typeof hot === 'number') {
    return typeof item.interval === 'number' && hot < item.interval
      ? `${String(hot)} ids are kept, fewer than one partition holds (${String(item.interval)})`
      : undefined;
  }
  if (typeof item.interval === 'number') return undefined;
  const days = durationMs(hot) / 86_400_000;
  if (days >= intervalDays[item.interval]) return undefined;
  return `rows are kept for less time than one partition spans (${item.interval}): they go when the youngest of them is due`;
}
