import { formatDuration } from '../../config/duration.ts';
import type { PartitionSettings } from '../../config/settings.ts';
import { renderTable } from '../../output/table.ts';
import { describeRetention } from '../../partition/model/retention.ts';
import { defaultNaming } from '../../partition/model/naming.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';

export const command = defineCommand({
  changes: false,
  examples: [
    { command: 'dbops config show', about: 'every value and where it came from' },
    { command: 'dbops config show --json', about: 'the same for programs' },
    {
      command: 'dbops config show --config /etc/dbops/dbops.yaml',
      about: 'as if this were the only file',
    },
  ],
  notes:
    'Precedence: flag, DBOPS_*, DATABASE_URL, PG*, project file, user file, system file, default.\n' +
    'Secrets are masked. No database is needed.',
  declare: () => undefined,
  async run({ settings }): Promise<Result> {
    const files = settings.files.map(({ path, kind }) => ({ path, kind }));
    const partitions = settings.partitions.map(describe);
    const values = settings.origins.map((item) => ({ ...item, value: visible(item.value) }));
    const parts = [
      await renderTable(values, [
        { title: 'setting', value: (row) => row.path },
        { title: 'value', value: (row) => row.value },
        { title: 'from', value: (row) => row.source },
      ]),
    ];
    if (files.length === 0) parts.push('No configuration file was found; "dbops init" writes one.');
    if (partitions.length > 0) {
      parts.push(
        await renderTable(partitions, [
          { title: 'table', value: (row) => row.table },
          { title: 'key', value: (row) => visible(row.key) },
          { title: 'interval', value: (row) => String(row.interval) },
          { title: 'timezone', value: (row) => row.timezone },
          { title: 'premake', value: (row) => String(row.premake), align: 'right' },
          { title: 'naming', value: (row) => visible(row.naming) },
          { title: 'retention', value: (row) => row.retention },
          { title: 'quarantine', value: (row) => row.quarantine },
        ]),
      );
    }
    return { data: { values, files, partitions }, text: parts.join('\n\n') };
  },
});

/** One entry, completed with the defaults. */
function describe(item: PartitionSettings) {
  return {
    table: displayName(item),
    key: item.key,
    interval: item.interval,
    epoch: item.epoch,
    timezone: item.timezone,
    premake: item.premake,
    naming: item.naming ?? defaultNaming(item.interval),
    retention: describeRetention({ settings: item }),
    quarantine: formatDuration(item.quarantine),
    storageParameters: item.storageParameters,
  };
}
