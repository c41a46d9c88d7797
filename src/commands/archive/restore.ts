import { findArchive } from '../../archive/catalogue.ts';
import { allChanges, planRestore, type RestoreOptions } from '../../archive/restore/plan.ts';
import { applyRestore, type RestoreResult } from '../../archive/restore/restore.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes, humanCount, humanSeconds } from '../../output/human.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, addYes, countOption } from '../options.ts';
import { withArchives } from './context.ts';

interface Options {
  into: string;
  attach?: boolean;
  verify: string;
  jobs?: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    {
      command: 'dbops archive restore 20260505 --into public.llm_calls_back --dry-run',
      about: 'what would be made, as a psql script',
    },
    {
      command: 'dbops archive restore 20260505 --into public.llm_calls_y2026m05 --attach',
      about: 'back where it was',
    },
    {
      command: 'dbops archive restore 20260505 --into public.llm_calls_back --verify digest',
      about: 'and compare every row with the archive',
    },
  ],
  notes:
    'The beginning of an id is enough where only one archive has it. The table is made from the manifest and loaded in\n' +
    'parallel; each part is committed only when its hash and its rows are those of the manifest, and a damaged one is read\n' +
    'from the next store that has the archive. Indexes and constraints follow, then the rows are counted. A restore that\n' +
    'was interrupted is begun anew by the same command.',
  declare(cmd) {
    cmd.argument('<id>', 'the archive, as "dbops archive list" shows it');
    cmd.requiredOption('--into <table>', 'the table to make; it must not be there yet');
    cmd.option('--attach', 'make it a partition of its table again');
    cmd.option('--verify <how>', 'bytes: hashes and counts; digest: every row too', 'bytes');
    cmd.option('--target <url>', 'another database to restore into, as --url; without a password in it');
    cmd.option('--jobs <count>', 'parallel loads; default: archive.jobs of the configuration');
    addWait(cmd);
    addYes(cmd);
    addDryRun(cmd);
    // Settings are read before a command runs; to them this is the database, whatever the configuration says.
    cmd.on('option:target', (url: string) => cmd.setOptionValue('url', url));
  },
  async run(context): Promise<Result> {
    const { args, options, job, settings } = context;
    const id = args[0] ?? '';
    const wish: RestoreOptions = {
      into: options.into,
      attach: options.attach === true,
      verify: verifyOf(options.verify),
    };
    const jobs = options.jobs === undefined ? undefined : countOption('--jobs', options.jobs);
    const base = await job(`${id} into ${options.into}`);
    return await withArchives(context, base, { isGentle: false, jobs }, async (archives) => {
      const stores = await Promise.all(settings.stores.map((store) => archives.openStore(store.name)));
      const archive = await findArchive(stores, id, {
        signal: context.signal,
        onProblem: (store, error) => {
          context.log.warn(
            { event: 'store_not_asked', store: store.name, code: error.code },
            `store "${store.name}": ${error.message}`,
          );
        },
      });
      const replan = () => planRestore(archives.db, archive, wish);
      const plan = await replan();
      const changes = allChanges(plan);
      if (options.dryRun === true)
        return context.dryRun(changes, `archive restore ${archive.id} into ${plan.label}`, plan.warnings);
      await base.consent(changes, `Restore archive ${archive.id} into ${plan.label}?`);
      const result = await applyRestore(archives, plan, replan);
      return {
        data: result,
        text: describe(result),
        warnings: [...result.warnings, ...result.differences],
        exitCode: result.differences.length === 0 ? 0 : 6,
      };
    });
  },
});

function verifyOf(text: string): RestoreOptions['verify'] {
  if (text === 'bytes' || text === 'digest') return text;
  throw new DbopsError('usage', `--verify is bytes or digest, not "${text}"`);
}

function describe(result: RestoreResult): string {
  const how = result.verified === 'digest' ? 'every row compared' : 'hashes and counts compared';
  const where = result.attachedTo === null ? '' : `, a partition of ${result.attachedTo}`;
  return (
    `${result.table}: ${humanCount(result.rows)} rows from ${humanBytes(result.storedBytes)} of archive ` +
    `${result.archive} in ${humanSeconds(result.seconds)}, ${how}${where}`
  );
}
