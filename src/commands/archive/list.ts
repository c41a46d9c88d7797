import {
  linesOfSurvey,
  listLedger,
  refuseUnknownTables,
  type ArchiveLine,
} from '../../archive/list/lines.ts';
import { planLedger, type LedgerPlan } from '../../archive/list/rebuild.ts';
import { surveyStores } from '../../archive/survey.ts';
import { splitTable } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { renderTable, type Column } from '../../output/table.ts';
import type { JobContext } from '../../partition/context.ts';
import { applyChanges } from '../../plan/apply.ts';
import { displayName, relation, visible } from '../../sql/quote.ts';
import { keyPart } from '../../storage/key.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { addDryRun } from '../options.ts';
import { jobIfReachable, openChosen, storesOf } from '../stores.ts';

interface Options {
  rebuild?: boolean;
  store?: string;
  all?: boolean;
  system?: string;
  database?: string;
}

export const command = defineCommand<Options>({
  changes: (options) => options.rebuild === true,
  examples: [
    { command: 'dbops archive list', about: 'what is archived, from the ledger in the database' },
    { command: 'dbops archive list public.audit_logs --json', about: 'one table, for a program' },
    {
      command: 'dbops archive list --rebuild',
      about: 'what lies in the stores; the ledger is brought in line where there is a database',
    },
  ],
  notes:
    'With --rebuild only the stores are needed: every cluster and database found there is listed. Where the database can be\n' +
    'reached, its ledger learns of archives that it lacks, and of copies that are gone; --dry-run prints that as SQL.',
  declare(cmd) {
    cmd.argument('[table...]', 'archives of these tables only');
    cmd.option('--rebuild', 'read the stores instead of the ledger');
    cmd.option('--store <name>', 'look into this store only');
    cmd.option('--all', 'failed and removed archives too');
    cmd.option('--system <identifier>', 'with --rebuild, archives of this cluster only');
    cmd.option('--database <name>', 'with --rebuild, archives of this database only');
    addDryRun(cmd);
  },
  async run(context): Promise<Result> {
    const { args, options, settings, connect } = context;
    if (options.rebuild === true) return await rebuild(context);
    for (const flag of ['system', 'database'] as const) {
      if (options[flag] !== undefined)
        throw new DbopsError('usage', `--${flag} needs --rebuild: the ledger is that of one database`);
    }
    const tables = args.map(splitTable);
    const lines = await listLedger(await connect(), settings, { tables, isAll: options.all === true });
    if (lines.length === 0) refuseUnknownTables(tables, [], settings.partitions);
    const { store } = options;
    const shown = lines.filter(
      (line) => store === undefined || line.copies.some((item) => item.store === store),
    );
    return { data: { archives: shown }, text: render(shown, 'nothing is archived in this database') };
  },
});

async function rebuild(context: CommandContext<Options>): Promise<Result> {
  const { args, options, settings, signal } = context;
  const tables = args.map(splitTable);
  const stores = storesOf(context);
  try {
    const opened = await openChosen(context, stores, options.store);
    const survey = await surveyStores(opened, {
      isWanted: (parts) =>
        (options.system === undefined || parts.system === keyPart(options.system)) &&
        (options.database === undefined || parts.database === keyPart(options.database)),
      signal,
      jobs: settings.archive.jobs * 4,
    });
    const [failed] = survey.failed;
    if (failed !== undefined && survey.asked.length === 0) throw failed.error;
    const warnings = survey.failed.map(({ store, error }) => `store "${store}": ${error.message}`);
    const reached = await jobIfReachable(context, null);
    let plan: LedgerPlan = { changes: [], differences: [] };
    if (reached.job === undefined) warnings.push(`the ledger was not compared: ${reached.reason}`);
    else plan = await planLedger(reached.job.db, settings.stateSchema, survey);
    warnings.push(...plan.differences);
    if (options.dryRun === true) return context.dryRun(plan.changes, 'archive list --rebuild', warnings);
    if (reached.job !== undefined) await bringInLine(reached.job, plan);
    const names = tables.map(relation);
    const lines = linesOfSurvey(survey).filter(
      (line) => names.length === 0 || names.includes(relation(line.table)),
    );
    return {
      data: { archives: lines, differences: plan.differences, changes: plan.changes.length },
      text: render(lines, 'there is no archive in these stores'),
      warnings,
    };
  } finally {
    await stores.closeAll();
  }
}

async function bringInLine(job: JobContext, plan: LedgerPlan): Promise<void> {
  if (plan.changes.length === 0) return;
  const { db, log, signal, settings } = job;
  await job.history.begin(db, plan.differences);
  await applyChanges(db, plan.changes, job.applied, { log, signal, deadlineMs: settings.lockDeadlineMs });
}

/** Columns in which nothing stands are left out. */
async function render(lines: ArchiveLine[], nothing: string): Promise<string> {
  if (lines.length === 0) return nothing;
  const known = (value: number | null, format: (value: number) => string) =>
    value === null ? '-' : format(value);
  const day = (date: Date | null) => date?.toISOString().slice(0, 10) ?? '-';
  const columns: Column<ArchiveLine>[] = [
    { title: 'archive', value: (line) => visible(line.id) },
    { title: 'system', value: (line) => visible(line.system ?? '-') },
    { title: 'database', value: (line) => visible(line.database ?? '-') },
    { title: 'table', value: (line) => displayName(line.table) },
    { title: 'partition', value: (line) => displayName(line.partition) },
    { title: 'bounds', value: (line) => visible(line.bounds.replace(/^FOR VALUES /, '')) },
    { title: 'rows', value: (line) => known(line.rows, humanCount), align: 'right' },
    { title: 'stored', value: (line) => known(line.storedBytes, humanBytes), align: 'right' },
    { title: 'in', value: (line) => line.copies.map((copy) => copy.store).join(', ') || '-' },
    { title: 'verified', value: (line) => day(line.verifiedAt) },
    { title: 'state', value: (line) => line.state },
    { title: 'held', value: (line) => (line.hold === null ? '-' : visible(line.hold)) },
    { title: 'expires', value: (line) => day(line.expiresAt) },
    { title: 'problem', value: problemsOf },
  ];
  return await renderTable(
    lines,
    columns.filter((column) => lines.some((line) => column.value(line) !== '-')),
  );
}

function problemsOf(line: ArchiveLine): string {
  const problems = line.copies.flatMap((copy) => (copy.problem === null ? [] : [copy.problem]));
  return problems.length === 0 ? '-' : visible(problems.join('; '));
}
