import { humanBytes, humanCount } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { visible } from '../../sql/quote.ts';
import { leastDays, leastSamples } from './forecast.ts';
import type { ObjectForecast } from './forecasts.ts';

/** Forecasts for people. */
export function forecastTable(rows: ObjectForecast[]): Promise<string> {
  return renderTable(rows, [
    { title: 'kind', value: (row) => row.kind },
    { title: 'object', value: (row) => visible(row.object) },
    { title: 'now', value: (row) => human(row, row.value), align: 'right' },
    { title: 'of', value: (row) => (row.bound === null ? '' : human(row, row.bound)), align: 'right' },
    { title: 'a day', value: growth, align: 'right' },
    {
      title: 'between',
      value: (row) =>
        row.perDay === null ? '' : `${signed(row, row.perDay.low)} and ${signed(row, row.perDay.high)}`,
    },
    { title: 'used up in', value: usedUp },
    { title: 'on', value: (row) => row.reachedAt?.toISOString().slice(0, 10) ?? '' },
  ]);
}

/** Of a recording that has stopped. Pure. */
export function staleWarnings(all: ObjectForecast[], now: Date): string[] {
  const newest = Math.max(...all.map(({ sampledAt }) => sampledAt.getTime()));
  const oldDays = Math.floor((now.getTime() - newest) / 86_400_000);
  return all.length === 0 || oldDays < 2
    ? []
    : [`nothing was recorded for ${String(oldDays)} days: run "dbops capacity record" every day`];
}

function growth(row: ObjectForecast): string {
  if (row.perDay === null)
    return row.spanDays < leastDays
      ? `too young (${String(Math.floor(row.spanDays * 10) / 10)} of ${String(leastDays)} days)`
      : `too young (${String(row.samples)} of ${String(leastSamples)} samples)`;
  return row.trend === 'none' ? 'no trend' : signed(row, row.perDay.likely);
}

function usedUp({ daysUntil }: ObjectForecast): string {
  if (daysUntil === null) return '';
  const { likely, low, high } = daysUntil;
  return `${days(likely)} days (${days(low)} to ${high === null ? 'never' : days(high)})`;
}

function days(count: number): string {
  return count > 36_525 ? 'over 36,525' : humanCount(Math.floor(count));
}

function human({ kind }: ObjectForecast, value: number): string {
  return ['sequence', 'xid', 'multixact'].includes(kind) ? humanCount(value) : humanBytes(value);
}

function signed(row: ObjectForecast, value: number): string {
  return `${value < 0 ? '-' : '+'}${human(row, Math.abs(value))}`;
}
