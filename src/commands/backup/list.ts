import { linesOfSurvey as archiveLines, listLedger, type ArchiveLine } from '../../archive/list/lines.ts';
import { surveyStores } from '../../archive/survey.ts';
import { backupStates } from '../../backup/catalogue/facts.ts';
import { surveyBackups } from '../../backup/catalogue/survey.ts';
import { linesOfRows, linesOfSurvey, type BackupLine, type ListPolicy } from '../../backup/list/lines.ts';
import { planBackupLedger, type BackupLedgerPlan } from '../../backup/list/rebuild.ts';
import { backupKinds } from '../../config/backup.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes, humanSeconds } from '../../output/human.ts';
import { renderTable, type Column } from '../../output/table.ts';
import { zoneOf } from '../../partition/model/zone.ts';
import type { Db } from '../../pg/connection.ts';
import { applyChanges } from '../../plan/apply.ts';
import { listBackupRows } from '../../sql/backups.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { findStoreSettings } from '../../storage/open.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { addDryRun } from '../options.ts';
import { jobIfReachable, openChosen, storesOf } from '../stores.ts';

interface Options {
  rebuild?: boolean;
  kind?: string;
  store?: string;
  all?: boolean;
}

const listedKinds = [...backupKinds, 'archive'];

export const command = defineCommand<Options>({
  changes: (options) => options.rebuild === true,
  examples: [
    { command: 'dbops backup list', about: 'what there is, where, how old, and whether it was verified' },
    { command: 'dbops backup list --kind logical --json', about: 'one kind, for a program' },
    {
      command: 'dbops backup list --rebuild',
      about: 'what lies in the stores; the ledger is brought in line where there is a database',
    },
  ],
  notes:
    'Backups of this database and its cluster, and archives of partitions. With --rebuild only the stores are needed: every\n' +
    'cluster and database found there is listed, with the state of each copy; --dry-run prints what the ledger would learn.',
  declare(cmd) {
    cmd.option('--rebuild', 'read the stores instead of the ledger');
    cmd.option('--kind <kind>', `only ${listedKinds.join(', ')}`);
    cmd.option('--store <name>', 'what has a copy in this store; with --rebuild, look into this store only');
    cmd.option('--all', 'failed and removed ones too');
    addDryRun(cmd);
  },
  async run(context): Promise<Result> {
    const { options, settings } = context;
    const { kind, store } = options;
    if (kind !== undefined && !listedKinds.includes(kind))
      throw new DbopsError('usage', `--kind is ${listedKinds.join(', ')}, not "${kind}"`);
    if (store !== undefined) findStoreSettings(settings.stores, store);
    if (options.rebuild === true) return await rebuild(context);
    const db = await connected(context);
    const now = context.now(db);
    const rows = await listBackupRows(db, settings.stateSchema, backupStates);
    const backups = linesOfRows(rows, policyOf(context, now));
    const archives = await listLedger(db, settings, { tables: [], isAll: options.all === true });
    const isShown = (line: BackupLine) =>
      options.all === true || line.kind === 'archive' || ['running', 'done'].includes(line.state);
    const lines = chosen(options, [...backups, ...archives.map(ofArchive)]).filter(isShown);
    return {
      data: { backups: lines.map((line) => ({ ...line, ageSeconds: ageSeconds(line, now) })) },
      text: render(lines, now, 'there is no backup of this database'),
    };
  },
});

/** The stores tell without a database, too. */
async function connected(context: CommandContext<Options>): Promise<Db> {
  try {
    return await context.connect();
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode !== 3) throw error;
    throw new DbopsError(error.code, error.message, {
      detail: [error.detail, error.hint].filter((text) => text !== undefined).join('\n'),
      hint: 'The stores can be asked without a database: dbops backup list --rebuild.',
      cause: error,
    });
  }
}

function policyOf({ settings }: CommandContext<Options>, now: Date): ListPolicy {
  const { retain, copies, required } = settings.backup;
  return { retain, copies, required, zone: zoneOf(settings.timezone), now };
}

async function rebuild(context: CommandContext<Options>): Promise<Result> {
  const { options, settings, signal } = context;
  const stores = storesOf(context);
  try {
    const opened = await openChosen(context, stores, options.store);
    const jobs = settings.backup.jobs * 4;
    const survey = await surveyBackups(opened, { isBrief: true, signal, jobs });
    const [failed] = survey.failed;
    if (failed !== undefined && survey.asked.length === 0) throw failed.error;
    const archives = await surveyStores(opened, { signal, jobs });
    const warnings = survey.failed.map(({ store, error }) => `store "${store}": ${error.message}`);
    const reached = await jobIfReachable(context, null);
    let plan: BackupLedgerPlan = { changes: [], differences: [] };
    if (reached.job === undefined) warnings.push(`the ledger was not compared: ${reached.reason}`);
    else plan = await planBackupLedger(reached.job.db, settings.stateSchema, survey);
    warnings.push(...plan.differences);
    if (options.dryRun === true) return context.dryRun(plan.changes, 'backup list --rebuild', warnings);
    if (reached.job !== undefined && plan.changes.length > 0) {
      const { db, log, history, applied } = reached.job;
      await history.begin(db, plan.differences);
      await applyChanges(db, plan.changes, applied, { log, signal, deadlineMs: settings.lockDeadlineMs });
    }
    const now = reached.job?.now ?? new Date();
    const found = options.all === true ? [...survey.backups, ...survey.remains] : survey.backups;
    const lines = chosen(options, [
      ...linesOfSurvey(found, policyOf(context, now)),
      ...archiveLines(archives).map(ofArchive),
    ]);
    return {
      data: {
        backups: lines.map((line) => ({ ...line, ageSeconds: ageSeconds(line, now) })),
        differences: plan.differences,
        changes: plan.changes.length,
      },
      text: render(lines, now, 'there is no backup in these stores'),
      warnings,
    };
  } finally {
    await stores.closeAll();
  }
}

/** An archived partition as a line among backups. Its retention is that of its table. */
function ofArchive(archive: ArchiveLine): BackupLine {
  const { expiresAt } = archive;
  return {
    id: archive.id,
    kind: 'archive',
    of: `archive of ${displayName(archive.partition)}`,
    system: archive.system,
    state: archive.state,
    moment: archive.verifiedAt,
    storedBytes: archive.storedBytes,
    copies: archive.copies.map((copy) => ({ ...copy, verifiedAt: null })),
    missing: [],
    parent: null,
    needs: null,
    verifiedAt: archive.verifiedAt,
    drilledAt: null,
    drillPassed: null,
    hold: archive.hold,
    keptBy:
      expiresAt === null
        ? ['no retention.cold ends it']
        : [`retention.cold until ${expiresAt.toISOString().slice(0, 10)}`],
    message: null,
  };
}

function chosen(options: Options, lines: BackupLine[]): BackupLine[] {
  return lines.filter(
    (line) =>
      (options.kind === undefined || line.kind === options.kind) &&
      (options.store === undefined || line.copies.some((copy) => copy.store === options.store)),
  );
}

function ageSeconds(line: BackupLine, now: Date): number | null {
  return line.moment === null ? null : Math.round((now.getTime() - line.moment.getTime()) / 1000);
}

/** Columns in which nothing stands are left out. */
async function render(lines: BackupLine[], now: Date, nothing: string): Promise<string> {
  if (lines.length === 0) return nothing;
  const day = (date: Date | null) => date?.toISOString().slice(0, 10) ?? '-';
  const columns: Column<BackupLine>[] = [
    { title: 'backup', value: (line) => visible(line.id) },
    { title: 'system', value: (line) => visible(line.system ?? '-') },
    { title: 'of', value: (line) => visible(line.of) },
    { title: 'state', value: (line) => line.state },
    {
      title: 'age',
      value: (line) => {
        const age = ageSeconds(line, now);
        return age === null ? '-' : age < 0 ? 'in the future' : humanSeconds(age);
      },
    },
    {
      title: 'stored',
      value: (line) => (line.storedBytes === null ? '-' : humanBytes(line.storedBytes)),
      align: 'right',
    },
    { title: 'in', value: (line) => line.copies.map(copyText).join(', ') || '-' },
    { title: 'lacks', value: (line) => line.missing.join(', ') || '-' },
    {
      title: 'needs',
      value: (line) => [line.parent, line.needs].filter((text) => text !== null).join(', ') || '-',
    },
    { title: 'verified', value: (line) => day(line.verifiedAt) },
    {
      title: 'drilled',
      value: (line) =>
        line.drilledAt === null
          ? '-'
          : `${day(line.drilledAt)} ${line.drillPassed === true ? 'passed' : 'failed'}`,
    },
    { title: 'held', value: (line) => (line.hold === null ? '-' : visible(line.hold)) },
    { title: 'kept by', value: (line) => line.keptBy.join('; ') || '-' },
    { title: 'message', value: (line) => (line.message === null ? '-' : visible(line.message)) },
  ];
  return await renderTable(
    lines,
    columns.filter((column) => lines.some((line) => column.value(line) !== '-')),
  );
}

function copyText(copy: BackupLine['copies'][number]): string {
  if (copy.problem !== null) return `${copy.store} (${visible(copy.problem)})`;
  const { verifiedAt } = copy;
  return verifiedAt === null
    ? copy.store
    : `${copy.store} (verified ${verifiedAt.toISOString().slice(0, 10)})`;
}
