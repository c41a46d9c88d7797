import { Option } from 'commander';
import { listForecasts } from '../../health/capacity/forecasts.ts';
import { forecastTable, staleWarnings } from '../../health/capacity/table.ts';
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
    const clock = now(db);
    const all = await listForecasts(db, { schema: settings.stateSchema, now: clock, days, kinds });
    const forecasts = all.slice(0, limit);
    const text =
      all.length === 0
        ? `nothing was recorded in the last ${String(days)} days: run "dbops capacity record" every day`
        : await forecastTable(forecasts);
    return { data: { forecasts }, text, warnings: staleWarnings(all, clock) };
  },
});
