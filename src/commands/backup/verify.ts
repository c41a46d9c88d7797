import { mkdir } from 'node:fs/promises';
import os from 'node:os';
import { parentOf } from '../../backup/catalogue/facts.ts';
import { surveyBackups, type BackupSurvey, type SurveyedBackup } from '../../backup/catalogue/survey.ts';
import type { BackupManifest } from '../../backup/manifest.ts';
import { findPgbackrest } from '../../backup/pgbackrest/site.ts';
import { problemsOf, verifyRepository } from '../../backup/pgbackrest/verify.ts';
import { readingPrograms } from '../../backup/verify/content.ts';
import { repairCopies } from '../../backup/verify/repair.ts';
import { verifyBackups, type VerifiedBackup, type VerifyContext } from '../../backup/verify/verify.ts';
import { chooseOne } from '../../catalogue/stored.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import type { JobContext } from '../../partition/context.ts';
import { findTools } from '../../process/tools.ts';
import { listBackupRows, recordBackupVerified } from '../../sql/backups.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { visible } from '../../sql/quote.ts';
import { keyPart } from '../../storage/key.ts';
import type { Store } from '../../storage/store.ts';
import { version } from '../../version.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { countOption } from '../options.ts';
import { jobIfReachable, openChosen, storesOf, type OpenStores } from '../stores.ts';

interface Options {
  all?: boolean;
  store?: string;
  jobs?: string;
  repair?: boolean;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops backup verify --all', about: 'every byte of every copy, for cron' },
    { command: 'dbops backup verify 20261115', about: 'one backup, and what it builds on' },
  ],
  notes:
    'Reads every file from every store: size and sha256 as in the manifest, zstd decompresses it, tar and pg_restore can read\n' +
    'it; for base backups every WAL segment that they need, and for incrementals every backup that they build on. What was\n' +
    'found is kept beside each copy and in the ledger. Exit 6 when anything is wrong. --repair copies from a good copy.',
  declare(cmd) {
    cmd.argument('[id...]', 'backups, by id or the beginning of one');
    cmd.option('--all', 'every backup of this cluster; without a database, all that lie in the stores');
    cmd.option('--store <name>', 'the copies in this store only');
    cmd.option('--jobs <count>', 'files read at a time; default: backup.jobs of the configuration');
    cmd.option('--repair', 'copy what is damaged or missing from a store whose copy is good');
  },
  async run(context): Promise<Result> {
    const { args, options, settings, signal, log } = context;
    if (args.length > 0 === (options.all === true))
      throw new DbopsError('usage', 'name backups, or give --all, one of them');
    const jobs = options.jobs === undefined ? settings.backup.jobs : countOption('--jobs', options.jobs);
    const stores = storesOf(context);
    try {
      const opened = await openChosen(context, stores, options.store);
      const reached = await jobIfReachable(context, null);
      const system =
        reached.job === undefined || args.length > 0
          ? undefined
          : (await getServerIdentity(reached.job.db)).systemIdentifier;
      const survey = await surveyBackups(opened, { systemIdentifier: system, signal, jobs: jobs * 4 });
      const [failed] = survey.failed;
      if (failed !== undefined && survey.asked.length === 0) throw failed.error;
      const chosen =
        options.all === true ? survey.backups : args.map((id) => chooseOne('backup', survey.backups, id));
      const expected = await expectedCopies(context, reached.job, survey);
      const verify = await verifyContext(context, stores, opened, jobs);
      const all = [...survey.backups, ...(await parentsElsewhere(context, stores, survey, jobs))];
      const results = await verifyBackups(verify, chosen, all, expected);
      if (options.all === true) results.push(...lostBackups(expected, survey));
      await recordResults(context, reached.job, results, { survey, expected });
      const repaired: { backup: string; stores: string[] }[] = [];
      for (const result of options.repair === true ? results : [])
        repaired.push({
          backup: result.id,
          stores: await repairCopies({ stores: opened, copies: settings.backup.copies, signal, log }, result),
        });
      return resultOf(results, survey, repaired, reached.job === undefined ? reached.reason : undefined);
    } finally {
      await stores.closeAll();
    }
  },
});

/** What the backups of one store build on may lie in another. */
async function parentsElsewhere(
  context: CommandContext<Options>,
  stores: OpenStores,
  survey: BackupSurvey,
  jobs: number,
): Promise<SurveyedBackup[]> {
  const { options, signal } = context;
  const known = new Set(survey.backups.map((item) => item.id));
  const parents = survey.backups.map(({ manifest }) => (manifest === undefined ? null : parentOf(manifest)));
  if (options.store === undefined || parents.every((id) => id === null || known.has(id))) return [];
  const opened = await openChosen(context, stores, undefined);
  const { backups } = await surveyBackups(opened, { signal, jobs: jobs * 4 });
  return backups.filter((item) => !known.has(item.id));
}

async function verifyContext(
  context: CommandContext<Options>,
  stores: OpenStores,
  opened: Store[],
  jobs: number,
): Promise<VerifyContext> {
  const { settings, signal, log, env, options } = context;
  const workDirectory = settings.backup.workDirectory ?? os.tmpdir();
  await mkdir(workDirectory, { recursive: true });
  const path = env['PATH'] ?? '';
  const isOne = options.store !== undefined;
  const { pgbackrest } = settings.backup;
  return {
    programs: readingPrograms(await findTools(['zstd', 'tar', 'pg_restore'], path)),
    workDirectory,
    // A backup in one store may have its WAL in another.
    walStores: await Promise.all(settings.wal.copies.map(stores.open)),
    walRequired: settings.wal.required,
    required: isOne ? 1 : settings.backup.required,
    copies: settings.backup.copies.filter((name) => opened.some((store) => store.name === name)),
    askPgbackrest:
      pgbackrest === undefined
        ? undefined
        : pgbackrestAsker({ settings, signal, findTools: (names) => findTools(names, path) }),
    by: { dbops: version, host: os.hostname(), osUser: os.userInfo().username },
    signal,
    log,
    jobs,
  };
}

/** pgBackRest reads a repository as a whole: it is asked once for each. */
function pgbackrestAsker(context: Parameters<typeof findPgbackrest>[0]) {
  let site: ReturnType<typeof findPgbackrest> | undefined;
  const reports = new Map<number, ReturnType<typeof verifyRepository>>();
  return async (part: NonNullable<BackupManifest['pgbackrest']>): Promise<string[]> => {
    const { signal } = context;
    site ??= findPgbackrest(context);
    const problems: string[] = [];
    for (const repository of part.repositories) {
      const report = reports.get(repository) ?? verifyRepository(await site, repository, signal);
      reports.set(repository, report);
      problems.push(...(await problemsOf(await site, part, repository, await report, signal)));
    }
    return problems;
  };
}

/** In which of the stores that were asked each backup should be, as the ledger has it. */
async function expectedCopies(
  context: CommandContext<Options>,
  job: JobContext | undefined,
  survey: BackupSurvey,
): Promise<Map<string, string[]>> {
  if (job === undefined) return new Map();
  const system = keyPart((await getServerIdentity(job.db)).systemIdentifier);
  const rows = await listBackupRows(job.db, context.settings.stateSchema, ['done']);
  return new Map(
    rows
      // Those that came along with a clone of another cluster are none of its own.
      .filter((row) => row.place.startsWith(`${system}/`))
      .map((row) => [row.id, row.stores.filter((name) => survey.asked.includes(name))]),
  );
}

/** Backups of the ledger that no store has at all. */
function lostBackups(expected: Map<string, string[]>, survey: BackupSurvey): VerifiedBackup[] {
  const ids = new Set(survey.backups.map((item: SurveyedBackup) => item.id));
  return [...expected]
    .filter(([id, stores]) => !ids.has(id) && stores.length > 0)
    .map(([id, stores]) => ({
      id,
      what: 'unknown',
      manifest: null,
      copies: [],
      bytesRead: 0,
      good: [],
      findings: stores.map((store) => ({
        backup: id,
        store,
        object: id,
        problem: 'the ledger has a copy there, and there is none',
        good: [],
      })),
      unknown: [],
      outages: [],
    }));
}

/** A standby takes no note; the marks beside the copies say the same. */
async function recordResults(
  context: CommandContext<Options>,
  job: JobContext | undefined,
  results: VerifiedBackup[],
  known: { survey: BackupSurvey; expected: Map<string, string[]> },
): Promise<void> {
  // Of some copies alone nothing can be said of the whole.
  if (job === undefined || known.survey.failed.length > 0) return;
  for (const { id, good, copies, outages } of results) {
    const isPart = (context.options.store !== undefined || outages.length > 0) && good.length === 0;
    if (copies.length === 0 || isPart || !known.expected.has(id)) continue;
    try {
      const at = good.length > 0 ? new Date() : null;
      await recordBackupVerified(job.db, context.settings.stateSchema, id, at);
    } catch (error) {
      if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
      context.log.warn(
        { event: 'verification_not_recorded', backup: id },
        `the ledger was not told of this verification: ${error.message}`,
      );
      return;
    }
  }
}

function resultOf(
  results: VerifiedBackup[],
  survey: BackupSurvey,
  repaired: { backup: string; stores: string[] }[],
  unreachable: string | undefined,
): Result {
  const findings = results.flatMap((item) => item.findings);
  const warnings = survey.failed.map(({ store, error }) => `store "${store}": ${error.message}`);
  const outages = results.flatMap((item) =>
    item.outages.map(({ store, problem }) =>
      store === '-' ? `${item.id}: ${problem}` : `${item.id} in store "${store}": ${problem}`,
    ),
  );
  warnings.push(...new Set(outages.map((text) => `not verified: ${text}`)));
  const isFailed = findings.length + warnings.length > 0;
  if (unreachable !== undefined) warnings.push(`copies that are missing cannot all be told: ${unreachable}`);
  const unknown = [...new Set(results.flatMap((item) => item.unknown))];
  warnings.push(...unknown.map((what) => `not looked at: ${what}`));
  return {
    data: {
      backups: results.map(({ id, what, good, bytesRead, findings: own, unknown: not }) => ({
        backup: id,
        what,
        good,
        bytesRead,
        findings: own,
        unknown: not,
      })),
      repaired: repaired.filter((item) => item.stores.length > 0),
      failedStores: survey.failed.map((item) => item.store),
    },
    text: render(results, repaired),
    warnings,
    exitCode: isFailed ? 6 : 0,
  };
}

async function render(
  results: VerifiedBackup[],
  repaired: { backup: string; stores: string[] }[],
): Promise<string> {
  const findings = results.flatMap((item) => item.findings);
  const bytes = results.reduce((sum, item) => sum + item.bytesRead, 0);
  const count = results.length;
  const isAll = results.every((item) => item.outages.length === 0);
  const sum = `${String(count)} ${count === 1 ? 'backup' : 'backups'} looked at, ${humanBytes(bytes)} read`;
  if (findings.length === 0)
    return isAll ? `${sum}: all is as it was written` : `${sum}: not all stores could be asked`;
  const table = await renderTable(findings, [
    { title: 'backup', value: (row) => visible(row.backup) },
    { title: 'store', value: (row) => row.store },
    { title: 'object', value: (row) => visible(row.object.split('/').slice(-2).join('/')) },
    { title: 'what', value: (row) => visible(row.problem) },
    { title: 'good copy in', value: (row) => row.good.join(', ') || 'none' },
  ]);
  const lines = repaired
    .filter((item) => item.stores.length > 0)
    .map((item) => `repaired ${item.backup} in ${item.stores.join(', ')}; verify it again`);
  return [table, '', `${sum}: ${String(findings.length)} findings`, ...lines].join('\n');
}
