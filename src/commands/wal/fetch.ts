import { resolve } from 'node:path';
import { absentExitCode } from '../../backup/wal/lines.ts';
import { findDataDirectory, watchServer, type DataDirectory } from '../../backup/wal/data-directory.ts';
import { fetchWal } from '../../backup/wal/fetch.ts';
import { prefetchWal, shouldPrefetch } from '../../backup/wal/prefetch.ts';
import { fileSize } from '../../backup/wal/local-file.ts';
import { DbopsError } from '../../errors.ts';
import { startDetached } from '../../process/detached.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { durationOption } from '../options.ts';
import { withWal } from './context.ts';

interface Options {
  system?: string;
  store?: string[];
  deadline?: string;
  prefetch?: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    {
      command: 'dbops wal fetch %f %p',
      about:
        'in restore_command; "dbops wal commands" prints the whole line, without which trouble ends a recovery',
    },
  ],
  notes:
    `Exits 0 when the file is at its place, ${String(absentExitCode)} when every store answered that it does not exist, and above 125 in\n` +
    'any trouble; it waits for stores that give no answer.',
  declare(cmd) {
    cmd.argument('<file>', 'name of the file, as PostgreSQL gives it by %f');
    cmd.argument('<path>', 'where it is wanted, as PostgreSQL gives it by %p');
    cmd.option('--system <identifier>', 'of the cluster; default: that of the data directory');
    cmd.option('--store <name...>', 'ask these stores alone; default: wal.copies');
    cmd.option('--deadline <duration>', 'give up after so long; default: never');
    cmd.option('--prefetch <bytes>', 'fetch what follows, in segments of this size; done in the background');
  },
  // PostgreSQL takes 1 to 125 for the end of the WAL.
  exitCode: (code) => (code === 0 || code === absentExitCode || code > 125 ? code : 255),
  async run(context): Promise<Result> {
    const { args, options, settings, cwd } = context;
    const [name = '', path = ''] = args;
    const data = await dataDirectoryOf(context, path);
    const systemIdentifier = options.system ?? data?.systemIdentifier;
    if (systemIdentifier === undefined) throw new DbopsError('usage', 'which cluster is meant is not known');
    const checkWanted = await watchServer(data?.path ?? cwd);
    const answer = await withWal(context, async (wal) => {
      const stores = await Promise.all((options.store ?? settings.wal.copies).map(wal.openStore));
      if (options.prefetch !== undefined) {
        if (data !== undefined) await prefetchWal(wal, stores, data, name, Number(options.prefetch));
        return 'found';
      }
      const deadlineMs =
        options.deadline === undefined ? undefined : durationOption('--deadline', options.deadline);
      const wanted = resolve(cwd, path);
      const found = await fetchWal(wal, stores, {
        systemIdentifier,
        name,
        path: wanted,
        deadlineMs,
        checkWanted,
      });
      const segmentBytes = found === 'found' ? await fileSize(wanted) : 0;
      if (found === 'found' && data !== undefined && (await shouldPrefetch(wal, data, name, segmentBytes))) {
        startDetached(
          ['wal', 'fetch', name, path, '--prefetch', String(segmentBytes), ...flags(options)],
          cwd,
        );
      }
      return found;
    });
    return {
      data: { file: name, found: answer === 'found' },
      text: '',
      exitCode: answer === 'found' ? 0 : absentExitCode,
    };
  },
});

/** With --system it does without one, and nothing is fetched ahead. */
async function dataDirectoryOf(
  { options, cwd }: CommandContext<Options>,
  path: string,
): Promise<DataDirectory | undefined> {
  try {
    return await findDataDirectory(cwd, path);
  } catch (error) {
    if (options.system === undefined) throw error;
    return undefined;
  }
}

function flags({ config, system, store }: CommandContext<Options>['options']): string[] {
  return [
    ...(config === undefined ? [] : ['--config', config]),
    ...(system === undefined ? [] : ['--system', system]),
    ...(store === undefined ? [] : ['--store', ...store]),
  ];
}
