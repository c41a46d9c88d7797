import { humanBytes, humanCount } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import {
  listDetached,
  listLines,
  summarizeSets,
  type PartitionLine,
  type SetSummary,
} from '../../partition/inspect/list.ts';
import { loadSets } from '../../partition/model/load-sets.ts';
import { combineProblems } from '../../partition/problems.ts';
import { selectTables } from '../../partition/model/select.ts';
import type { LedgerRow } from '../../sql/ledger.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { addTables } from '../options.ts';

interface Options {
  detached?: boolean;
}

const unknown = (value: number | null, format: (known: number) => string) =>
  value === null ? 'unknown' : format(value);

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops partition list', about: 'all configured sets, a line each' },
    { command: 'dbops partition list public.audit_logs', about: 'the partitions of one table' },
    { command: 'dbops partition list --detached', about: 'what was detached and not yet dropped' },
  ],
  notes: 'Rows are estimates of the planner; "unknown" where a table was never analyzed, or is locked.',
  declare(cmd) {
    addTables(cmd);
    cmd.option('--detached', 'detached partitions instead, from the ledger');
  },
  async run({ args, options, settings, connect }): Promise<Result> {
    if (options.detached === true) {
      const rows = await listDetached(await connect(), settings.stateSchema);
      return {
        data: rows,
        text: rows.length === 0 ? 'nothing is detached and waiting' : renderDetached(rows),
      };
    }
    const chosen = selectTables(settings, args);
    const db = await connect();
    const { sets, problems } = await loadSets(db, chosen.partitions);
    const [first] = problems;
    if (first !== undefined && (args.length > 0 || sets.length === 0)) {
      throw combineProblems(problems.map((item) => ({ table: item.settings.table, error: item.error })));
    }
    const warnings = problems.map((item) => item.error.message);
    if (args.length > 0) {
      const lines = await listLines(db, sets);
      return { data: lines, text: renderLines(lines), warnings };
    }
    const summaries = await summarizeSets(db, sets);
    return { data: summaries, text: renderSets(summaries), warnings };
  },
});

function renderSets(rows: SetSummary[]): Promise<string> {
  return renderTable(rows, [
    { title: 'table', value: (row) => row.table },
    { title: 'key', value: (row) => visible(row.key) },
    { title: 'interval', value: (row) => row.interval },
    { title: 'partitions', value: (row) => String(row.partitions), align: 'right' },
    { title: 'from', value: (row) => row.from },
    { title: 'until', value: (row) => row.until },
    { title: 'rows', value: (row) => unknown(row.rowEstimate, humanCount), align: 'right' },
    { title: 'size', value: (row) => unknown(row.sizeBytes, humanBytes), align: 'right' },
    { title: 'state', value: (row) => row.state },
  ]);
}

function renderLines(rows: PartitionLine[]): Promise<string> {
  return renderTable(rows, [
    { title: 'partition', value: (row) => row.partition },
    { title: 'from', value: (row) => row.from },
    { title: 'to', value: (row) => row.to },
    { title: 'rows', value: (row) => unknown(row.rowEstimate, humanCount), align: 'right' },
    { title: 'size', value: (row) => unknown(row.sizeBytes, humanBytes), align: 'right' },
    { title: 'state', value: (row) => row.state },
  ]);
}

function renderDetached(rows: LedgerRow[]): Promise<string> {
  return renderTable(rows, [
    { title: 'detached', value: displayName },
    { title: 'was in', value: (row) => visible(row.parent) },
    { title: 'bounds', value: (row) => visible(row.bounds) },
    { title: 'since', value: (row) => row.detachedAt?.toISOString() ?? 'interrupted' },
    { title: 'drop after', value: (row) => row.dropAfter?.toISOString() ?? 'only with --confirm' },
    { title: 'archive', value: (row) => visible(row.archiveId ?? '-') },
    { title: 'size', value: (row) => unknown(row.sizeBytes, humanBytes), align: 'right' },
  ]);
}
