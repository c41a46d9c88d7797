import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { DbopsError } from '../../errors.ts';
import { paint } from '../../output/style.ts';
import { renderTable } from '../../output/table.ts';
import { checkText, checkTop, type PruneFinding, type PruneReport } from '../../partition/prune/check.ts';
import { selectTables } from '../../partition/model/select.ts';
import { visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { countOption } from '../options.ts';

interface Options {
  sql?: string;
  top?: string;
}

const colours = { pruned: 'green', 'at run time': 'green', all: 'yellow', unknown: 'yellow' } as const;

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops partition prune-check --sql queries.sql', about: 'the statements of a file' },
    { command: 'dbops partition prune-check --sql - < queries.sql', about: 'the same from standard input' },
    { command: 'dbops partition prune-check --top 50', about: 'what took most time, by pg_stat_statements' },
  ],
  notes:
    'Statements are planned and never executed, in a read-only transaction. :name, ? and %s are taken as parameters.\n' +
    'Exit 6 when one of them reads every partition, or could not be planned.',
  declare(cmd) {
    cmd.option('--sql <file>', 'a file with statements, or - for standard input');
    cmd.option('--top <count>', 'so many statements of pg_stat_statements; 20 when --sql is not given');
  },
  async run({ options, settings, job, cwd }): Promise<Result> {
    if (options.sql !== undefined && options.top !== undefined) {
      throw new DbopsError('usage', '--sql and --top exclude each other');
    }
    const chosen = selectTables(settings, []);
    const top = countOption('--top', options.top ?? '20');
    const sql = options.sql === undefined ? undefined : await readSql(options.sql, cwd);
    const context = { ...(await job(null)), settings: chosen };
    const report =
      sql === undefined ? await checkTop(context, top) : await checkText(context, sql.text, sql.name);
    const failed = report.findings.some(
      (finding) => finding.status === 'all' || finding.status === 'unknown',
    );
    return { data: report, text: render(report), exitCode: failed ? 6 : 0 };
  },
});

async function readSql(file: string, cwd: string): Promise<{ name: string; text: string }> {
  if (file === '-') return { name: 'stdin', text: await readAll(process.stdin) };
  try {
    return { name: visible(path.basename(file)), text: await readFile(path.resolve(cwd, file), 'utf8') };
  } catch (cause) {
    throw new DbopsError('usage', `cannot read ${visible(file)}`, {
      detail: cause instanceof Error ? cause.message : undefined,
      hint: 'Give a readable file with --sql, or - for standard input.',
      cause,
    });
  }
}

async function render(report: PruneReport): Promise<string> {
  const skipped = `${String(report.skipped)} read no configured table or are none that can be planned`;
  if (report.findings.length === 0) return `nothing to check: ${skipped}`;
  const table = await renderTable(report.findings, [
    { title: 'where', value: (row) => row.place },
    { title: 'table', value: (row) => row.table ?? '' },
    { title: 'pruning', value: (row) => paint(colours[row.status], row.status) },
    { title: 'read', value: readOf, align: 'right' },
    { title: 'statement', value: (row) => row.statement },
  ]);
  const remarks = report.findings
    .filter((row) => row.status === 'all' || row.status === 'unknown')
    .map((row) => `${row.place}: ${row.reason}\n  ${row.advice}`);
  return [table, ...remarks, `${String(report.statements)} statements checked; ${skipped}`].join('\n');
}

function readOf(row: PruneFinding): string {
  if (row.partitions === null) return '';
  return `${row.read === null ? '?' : String(row.read)} of ${String(row.partitions)}`;
}
