import { ownPlaces, surveyStores } from '../../archive/survey.ts';
import { chooseArchives, sampleOption } from '../../archive/verify/targets.ts';
import { expectedCopies, lostArchives } from '../../archive/verify/expected.ts';
import { verifyArchives, verifyLevels, type VerifiedArchive } from '../../archive/verify/verify.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { findZstd } from '../../process/tools.ts';
import { visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { countOption } from '../options.ts';
import { jobIfReachable, openChosen, storesOf } from '../stores.ts';

interface Options {
  all?: boolean;
  sample?: string;
  level: string;
  store?: string;
  jobs?: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops archive verify --sample 5%', about: 'some archives, others every day, for cron' },
    { command: 'dbops archive verify --all --level manifest', about: 'all, without reading their rows' },
    { command: 'dbops archive verify 20260505', about: 'one archive, every byte of every copy' },
  ],
  notes:
    'Reads every part of every copy from its store: sha256, decompression, rows; "digest" compares the rows one by one, too.\n' +
    'With a database at hand its own archives are meant, else all that lie in the stores. Exit 6 when anything is\n' +
    'wrong, with the stores that have a good copy. The sample hangs on the date alone.',
  declare(cmd) {
    cmd.argument('[id...]', 'archives, by id or the beginning of one');
    cmd.option('--all', 'every archive');
    cmd.option('--sample <share>', 'a share of them, such as 5%');
    cmd.option('--level <level>', `how closely: ${verifyLevels.join(', ')}`, 'bytes');
    cmd.option('--store <name>', 'the copies in this store only');
    cmd.option('--jobs <count>', 'objects read at a time; default: archive.jobs of the configuration');
  },
  async run(context): Promise<Result> {
    const { args, options, settings, signal, log, env } = context;
    const level = verifyLevels.find((item) => item === options.level);
    if (level === undefined)
      throw new DbopsError('usage', `--level is ${verifyLevels.join(', ')}, not "${options.level}"`);
    const sample = sampleOption(options.sample);
    const wish = { ids: args, isAll: options.all === true, sample };
    if ([args.length > 0, wish.isAll, sample !== undefined].filter(Boolean).length !== 1)
      throw new DbopsError('usage', 'name archives, or give --all or --sample, one of them');
    const jobs = options.jobs === undefined ? settings.archive.jobs : countOption('--jobs', options.jobs);
    const stores = storesOf(context);
    try {
      const opened = await openChosen(context, stores, options.store);
      const reached = await jobIfReachable(context, null);
      // With a database at hand, its own archives are meant; with a store alone, all that lie in it.
      const own = reached.job === undefined || args.length > 0 ? undefined : await ownPlaces(reached.job.db);
      const survey = await surveyStores(opened, { isWanted: own, signal, jobs: jobs * 4 });
      const known =
        reached.job === undefined
          ? new Map<string, string[]>()
          : await expectedCopies(reached.job.db, settings.stateSchema, survey);
      const now = reached.job?.now ?? new Date();
      const seed = now.toISOString().slice(0, 10);
      const whole = survey.archives.filter((item) => item.copies.some((copy) => copy.hasManifest));
      const chosen = chooseArchives(whole, wish, seed);
      const checked = await verifyArchives(
        { zstd: () => findZstd(env['PATH'] ?? ''), signal, log, jobs },
        chosen,
        level,
        known,
      );
      const lost = wish.isAll ? lostArchives(known, whole) : [];
      const results = [...checked, ...lost];
      const findings = results.flatMap((item) => item.findings);
      const failed = survey.failed.map(({ store, error }) => `store "${store}": ${error.message}`);
      const warnings = [...failed];
      if (reached.job === undefined)
        warnings.push(`copies that are missing cannot be told: ${reached.reason}`);
      if (sample !== undefined)
        warnings.push(
          `a sample of ${String(chosen.length)} of ${String(whole.length)} archives, seed ${seed}`,
        );
      return {
        data: { level, archives: results, failedStores: survey.failed.map((item) => item.store) },
        text: render(results),
        warnings,
        exitCode: findings.length + failed.length > 0 ? 6 : 0,
      };
    } finally {
      await stores.closeAll();
    }
  },
});

async function render(results: VerifiedArchive[]): Promise<string> {
  const findings = results.flatMap((item) => item.findings);
  const bytes = results.reduce((sum, item) => sum + item.bytesRead, 0);
  const rows = results.reduce((sum, item) => sum + (item.rows ?? 0), 0);
  const count = results.length;
  const sum = `${String(count)} ${count === 1 ? 'archive' : 'archives'} with ${humanCount(rows)} rows looked at, ${humanBytes(bytes)} read`;
  if (findings.length === 0) return `${sum}: all is as it was written`;
  const table = await renderTable(findings, [
    { title: 'archive', value: (row) => visible(row.archive) },
    { title: 'store', value: (row) => row.store },
    { title: 'object', value: (row) => visible(row.object.split('/').slice(-2).join('/')) },
    { title: 'what', value: (row) => visible(row.problem) },
    { title: 'good copy in', value: (row) => row.good.join(', ') || 'none' },
  ]);
  return `${table}\n\n${sum}: ${String(findings.length)} findings`;
}
