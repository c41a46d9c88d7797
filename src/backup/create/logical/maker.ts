import { DbopsError } from '../../../errors.ts';
import { humanBytes, humanCount } from '../../../output/human.ts';
import { displayName } from '../../../sql/quote.ts';
import type { LogicalPart } from '../../manifest.ts';
import type { Maker, Making } from '../maker.ts';
import { dumpWithFacts, type Dumped, type DumpWithFacts } from './dump.ts';
import { storeGlobals } from './globals.ts';
import { planLogical, type LogicalPlan, type Selection } from './plan.ts';
import { withWorkDirectory } from './work.ts';

/** Backups made by pg_dump: of a database, of its definitions, of single tables. */
export const logicalMaker: Maker<LogicalPlan> = {
  plan: planLogical,
  make: async (making, plan) => {
    const globals = plan.withGlobals
      ? await storeGlobals(making, plan)
      : { globals: null, rolePasswords: false };
    const made =
      plan.format === 'directory'
        ? await withWorkDirectory(making.context, making.id, (work) => dumpWithFacts(making, plan, work))
        : await dumpWithFacts(making, plan, undefined);
    checkSize(making);
    return {
      tools: Object.fromEntries(
        Object.values(plan.tools).map((tool) => [tool.name, tool.version ?? 'unknown']),
      ),
      logical: { ...describe(making, plan, made), ...globals },
      physical: null,
      pgbackrest: null,
    };
  },
};

function checkSize({ context, sink }: Making): void {
  const { minimumBytes } = context.settings.backup;
  const bytes = sink.files.reduce((sum, file) => sum + file.sizeBytes, 0);
  if (bytes >= minimumBytes) return;
  throw new DbopsError(
    'tool_failed',
    `the dump is ${humanBytes(bytes)}, and "backup.minimumSize" is ${humanBytes(minimumBytes)}`,
    {
      hint: 'Was the database emptied? Look at it before the backups that are kept grow old; lower "backup.minimumSize" where this size is right.',
    },
  );
}

/** Compares the dump with its snapshot, and says what it holds. Throws tool_failed where something is missing. */
function describe(
  making: Making,
  plan: LogicalPlan,
  { snapshot, selection, facts, dumped }: DumpWithFacts,
): Omit<LogicalPart, 'globals' | 'rolePasswords'> {
  const { sequences, counts, databaseSettings, ...rest } = facts;
  return {
    format: plan.format,
    snapshot,
    selected: plan.selected,
    excludedData: plan.excluded.map((pattern) => pattern.text),
    tables: selection.tables.map((table) => {
      const rows = table.kind === 'r' && dumped !== null ? rowsOf(table, selection, dumped) : null;
      const counted = counts.get(table.oid);
      if (counted !== undefined && rows !== null && counted.rows !== BigInt(rows)) {
        throw new DbopsError(
          'tool_failed',
          `${displayName(table)} has ${humanCount(Number(counted.rows))} rows in the snapshot of the dump, and ${humanCount(rows)} were dumped`,
        );
      }
      return {
        schema: table.schema,
        name: table.name,
        sizeBytes: plan.sizes.get(table.oid) ?? 0,
        rows,
        hash: counted?.hash ?? null,
        dataExcluded: dumped === null || selection.withoutData.has(table.oid),
      };
    }),
    sequences: sequences
      .filter((sequence) => dumped === null || dumped.toc.sequences.has(sequence.oid))
      .map((sequence) => {
        const value = dumped?.sequenceValues.get(sequence.literal);
        return {
          schema: sequence.schema,
          name: sequence.name,
          lastValue: value?.lastValue ?? null,
          isCalled: value?.isCalled ?? null,
        };
      }),
    databaseSettings: {
      ...databaseSettings,
      settings: databaseSettings.settings.map(withoutSecret),
    },
    ...rest,
  };
}

/** Null where the rows were left out on purpose. */
function rowsOf(table: Selection['tables'][number], selection: Selection, dumped: Dumped): number | null {
  const dumpId = dumped.toc.tableData.get(table.oid);
  const rows = dumpId === undefined ? undefined : dumped.rows.get(dumpId);
  if (rows !== undefined) return rows;
  if (dumpId === undefined && selection.withoutData.has(table.oid)) return null;
  throw new DbopsError('tool_failed', `the dump has no rows of ${displayName(table)}`, {
    hint: 'pg_dump ended with exit code 0 and left them out. Is it the real one? "dbops doctor" lists what is found.',
  });
}

/** A manifest is read by many; the dump itself holds the value. */
function withoutSecret(setting: string): string {
  const [name = ''] = setting.split('=', 1);
  return /passw|secret|token|credential|private|api_?key/i.test(name) ? `${name}=***` : setting;
}
