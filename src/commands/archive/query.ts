import os from 'node:os';
import type { Cell } from '../../archive/parquet/values.ts';
import { queryArchives, type QueryContext, type QueryRun } from '../../archive/query/query.ts';
import { parseStoreUrl } from '../../config/store-url.ts';
import type { StoreSettings } from '../../config/stores.ts';
import { DbopsError } from '../../errors.ts';
import { toJson } from '../../output/json.ts';
import { csvLine, fieldNames, plainText } from '../../output/rows.ts';
import { writeStdout } from '../../output/stdout.ts';
import { renderTable } from '../../output/table.ts';
import { findCopyPrograms } from '../../process/tools.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { visible } from '../../sql/quote.ts';
import { openStore } from '../../storage/open.ts';
import type { Store } from '../../storage/store.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { countOption } from '../options.ts';
import { storesOf } from '../stores.ts';

interface Options {
  store?: string;
  system?: string;
  database?: string;
  jsonl?: boolean;
  csv?: boolean;
  limit: string;
  cacheGb: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    {
      command: 'dbops archive query "select count(*) from public.llm_calls"',
      about: 'over all archives of the table, wherever its partitions are now',
    },
    {
      command: `dbops archive query "from llm_calls where created_at >= '2026-05-07' and created_at < '2026-05-08'" --csv`,
      about: 'a day; archives of other months are not read',
    },
  ],
  notes:
    'SQL as DuckDB takes it, reading only. Compare the key itself with constants (created_at >= ...), so that archives\n' +
    'whose bounds cannot match are left out. Parquet is read where it is kept; else the parts are turned into it, once, in a\n' +
    'cache below archive.workDirectory. Columns that Parquet has no type for are text; docs/parquet-types.md lists them.',
  declare(cmd) {
    cmd.argument('<sql>', 'one query, quoted');
    cmd.option('--store <name>', 'a store of the configuration, or a URL; all configured ones by default');
    cmd.option('--system <identifier>', 'the system identifier, where a store has several');
    cmd.option('--database <name>', 'the database, where a store has several');
    cmd.option('--jsonl', 'one JSON object a line, as rows are found');
    cmd.option('--csv', 'CSV with a header, as rows are found');
    cmd.option('--limit <rows>', 'rows of the table for people', '100');
    cmd.option('--cache-gb <count>', 'how much Parquet of former queries is kept', '10');
  },
  async run(context): Promise<Result> {
    const { args, options } = context;
    const forms = [options.json, options.jsonl, options.csv].filter((flag) => flag === true);
    if (forms.length > 1) throw new DbopsError('usage', 'give one of --json, --jsonl and --csv');
    const limit = countOption('--limit', options.limit);
    return await withQuery(context, (query) =>
      queryArchives(query, args[0] ?? '', (run) => {
        if (options.csv === true)
          return stream(run, csvLine, csvLine(run.columns.map((column) => column.name)));
        if (options.jsonl === true) return stream(run, jsonLines(run));
        return options.json === true ? document(run) : table(run, limit);
      }),
    );
  },
});

async function withQuery<T>(
  context: CommandContext<Options>,
  work: (query: QueryContext) => Promise<T>,
): Promise<T> {
  const { options, settings, env, log, signal, connect } = context;
  const opened = storesOf(context);
  const direct = options.store?.includes('://') === true ? [await openStore(byUrl(options.store))] : [];
  const names = options.store === undefined ? settings.stores.map((store) => store.name) : [options.store];
  try {
    const stores: Store[] = direct.length > 0 ? direct : await Promise.all(names.map(opened.open));
    if (stores.length === 0) {
      throw new DbopsError('store_unknown', 'there is no store to look for archives in', {
        hint: 'Name one under "stores:" in the configuration, or give its URL with --store.',
      });
    }
    return await work({
      stores,
      choice: {
        system: options.system,
        database: options.database,
        connected: async () => {
          const db = await connect();
          return { system: (await getServerIdentity(db)).systemIdentifier, database: db.server.database };
        },
      },
      workDirectory: settings.archive.workDirectory ?? os.tmpdir(),
      cacheLimitBytes: countOption('--cache-gb', options.cacheGb, 0) * 1e9,
      zstd: async () => (await findCopyPrograms(env['PATH'] ?? '')).zstd,
      log,
      signal,
    });
  } finally {
    await opened.closeAll();
    for (const store of direct) await store.close();
  }
}

/** A store that no configuration names: credentials come from the environment, as those of AWS do. Throws usage. */
function byUrl(url: string): StoreSettings {
  const place = parseStoreUrl(url);
  // Not with the URL itself: it may hold what it must not.
  if ('problem' in place) throw new DbopsError('usage', `the URL of --store ${place.problem}`);
  return { name: url, url, pathStyle: false };
}

/** Writes rows as they come, until nobody reads any more. */
async function stream(run: QueryRun, line: (row: Cell[]) => string, head = ''): Promise<Result> {
  await writeStdout(head);
  for await (const rows of run.bundles) {
    if (!process.stdout.writable) break;
    await writeStdout(rows.map(line).join(''));
  }
  return { data: null, text: '' };
}

function jsonLines(run: QueryRun): (row: Cell[]) => string {
  const toObject = objectOf(run);
  return (row) => `${toJson(toObject(row), 0)}\n`;
}

function objectOf(run: QueryRun): (row: Cell[]) => Record<string, Cell> {
  const names = fieldNames(run.columns.map((column) => column.name));
  return (row) => Object.fromEntries(names.map((name, index) => [name, row[index] ?? null]));
}

async function document(run: QueryRun): Promise<Result> {
  const rows: Cell[][] = [];
  for await (const bundle of run.bundles) rows.push(...bundle);
  const data = { columns: run.columns, rows: rows.map(objectOf(run)), archives: run.archives };
  return { data, text: '' };
}

async function table(run: QueryRun, limit: number): Promise<Result> {
  const rows: Cell[][] = [];
  for await (const bundle of run.bundles) {
    rows.push(...bundle.slice(0, limit + 1 - rows.length));
    if (rows.length > limit) break;
  }
  const shown = rows.slice(0, limit);
  const isNumber = (type: string) =>
    /^(U?(TINY|SMALL|BIG|HUGE)?INT|U?INTEGER|DECIMAL|FLOAT|DOUBLE)/.test(type);
  const text = await renderTable(
    shown,
    run.columns.map((column, index) => ({
      title: visible(column.name),
      value: (row) => visible(row[index] === null ? 'null' : plainText(row[index])),
      align: isNumber(column.type) ? ('right' as const) : ('left' as const),
    })),
  );
  const more = `only the first ${String(limit)} rows are shown; --limit, --csv and --jsonl give more`;
  return { data: null, text, warnings: rows.length > limit ? [more] : [] };
}
