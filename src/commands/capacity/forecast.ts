import { Option } from 'commander';
import { listForecasts, type ObjectForecast } from '../../health/capacity/forecasts.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { visible } from '../../sql/quote.ts';
import { sampleKinds, type SampleKind } from '../../sql/samples.ts';
import { defineCommand, type Result } from '../command.ts';
import { countOption } from '../options.ts';

interface Options {
  kind?: SampleKind;
  days: string;
  limit: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    {
      command: 'dbops capacity forecast',
      about: 'what grows, and when a disk, a sequence or the ids are used up',
    },
    { command: 'dbops capacity forecast --kind table --days 30', about: 'tables, by the last month alone' },
  ],
  notes:
    'Ranges hold in nine of ten cases while nothing changes. It takes seven days of samples: "dbops capacity record".',
  declare(cmd) {
    cmd.addOption(new Option('--kind <kind>', 'one kind only').choices(sampleKinds));
    cmd.option('--days <count>', 'how far back samples count', '90');
    cmd.option('--limit <count>', 'how many rows', '20');
  },
  async run({ options, settings, connect, now }): Promise<Result> {
    const days = countOption('--days', options.days, 7);
    const limit = countOption('--limit', options.limit);
    const db = await connect();
    const kinds = options.kind === undefined ? sampleKinds : [options.kind];
    const all = await listForecasts(db, { schema: settings.stateSchema, now: now(db), days, kinds });
    const forecasts = all.slice(0, limit);
    const text =
      all.length === 0
        ? `nothing was recorded in the last ${String(days)} days: run "dbops capacity record" every day`
        : render(forecasts);
    return { data: { forecasts }, text };
  },
});

function render(rows: ObjectForecast[]): Promise<string> {
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

function growth(row: ObjectForecast): string {
  if (row.perDay === null) return `too young (${row.spanDays.toFixed(1)} of 7 days)`;
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
