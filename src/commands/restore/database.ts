import type { VerifyLevel } from '../../backup/restore/database/check.ts';
import { restoreDatabase, type DatabaseResult } from '../../backup/restore/database/database.ts';
import { planDatabase, type DatabaseWish } from '../../backup/restore/database/plan.ts';
import { listDump } from '../../backup/restore/database/list.ts';
import { DbopsError } from '../../errors.ts';
import { confirm } from '../../output/confirm.ts';
import { humanCount, humanSeconds } from '../../output/human.ts';
import { defineCommand, type Result } from '../command.ts';
import { addYes, countOption } from '../options.ts';
import { withBackupFiles, withRestoreServer } from './context.ts';

interface Options {
  into?: string;
  confirm?: string;
  verify: string;
  partial?: boolean;
  list?: boolean;
  store?: string;
  jobs?: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    {
      command: 'dbops restore database 20261115 --dry-run',
      about: 'what would be done, and under which name',
    },
    { command: 'dbops restore database 20261115 --into shop_copy --yes', about: 'beside what is there' },
    {
      command: 'dbops restore database 20261115 --confirm shop --yes',
      about: 'in the place of "shop", which is kept under another name',
    },
    { command: 'dbops restore database 20261115 --list', about: 'what is in it' },
  ],
  notes:
    'The beginning of an id is enough where only one backup has it. Every file is compared with the manifest first, and a\n' +
    'damaged one is taken from the next store. The database is restored under a name of its own, compared with the backup,\n' +
    'and renamed at the end: a restore that fails leaves what was there as it was. Roles that are missing are made; those\n' +
    'that are there are left as they are. An error of the server is counted, and never a success: exit code 5 then, and\n' +
    'what could be restored stays. A restore that was interrupted is begun anew by the same command.',
  declare(cmd) {
    cmd.argument('<id>', 'the backup, as "dbops backup list" shows it');
    cmd.option(
      '--into <name>',
      'the database to make; default: its name with _restored_ and the time of the backup',
    );
    cmd.option('--confirm <name>', 'replace this database, which is kept under another name');
    cmd.option(
      '--verify <how>',
      'counts: rows, sequences, large objects; hash: every row too; none',
      'counts',
    );
    cmd.option('--partial', 'go on without roles, extensions and tablespaces that are missing here');
    cmd.option('--list', 'print what the backup holds, and restore nothing');
    cmd.option('--store <name>', 'take it from this store; default: any that has it');
    cmd.option('--jobs <count>', 'parallel sessions; default: backup.jobs of the configuration');
    addYes(cmd);
    cmd.option('--dry-run', 'print what would be done and change nothing');
  },
  async run(context): Promise<Result> {
    const { args, options, signal } = context;
    const wish: DatabaseWish = {
      into: options.into,
      confirm: options.confirm,
      verify: verifyOf(options.verify),
      partial: options.partial === true,
    };
    const jobs = options.jobs === undefined ? undefined : countOption('--jobs', options.jobs);
    const found = { id: args[0] ?? '', store: options.store, jobs };
    return await withBackupFiles(context, found, async (files, backup) => {
      if (options.list === true) {
        const entries = await listDump(files, backup);
        return { data: { backup: backup.id, entries }, text: entries.join('\n') };
      }
      const avoid = options.confirm ?? options.into;
      return await withRestoreServer(context, files, avoid, async (restore): Promise<Result> => {
        const plan = await planDatabase(restore, backup, wish);
        const { steps, target, kept, warnings } = plan;
        if (options.dryRun === true) {
          const data = { dryRun: true, backup: backup.id, database: target, kept: kept ?? null, steps };
          return { data, text: steps.join('\n'), warnings };
        }
        const question = `Restore backup ${backup.id} as database "${target}"?`;
        await confirm(steps.join('\n'), question, { yes: options.yes === true, signal });
        const result = await restoreDatabase(restore, plan);
        return { data: result, text: describe(result), warnings: result.warnings };
      });
    });
  },
});

function verifyOf(text: string): VerifyLevel {
  const level = (['counts', 'hash', 'none'] as const).find((item) => item === text);
  if (level !== undefined) return level;
  throw new DbopsError('usage', `--verify is counts, hash or none, not "${text}"`);
}

function describe(result: DatabaseResult): string {
  const { database, backup, tables, rows, seconds, kept } = result;
  const before =
    kept === null
      ? ''
      : `\nwhat was there before is kept as database "${kept}"; drop it when it is not needed`;
  return (
    `database "${database}" from backup ${backup}: ${humanCount(tables)} tables, ${humanCount(rows)} rows compared, ` +
    `in ${humanSeconds(seconds.whole)}${before}`
  );
}
