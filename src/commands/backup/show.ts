import { findBackup } from '../../backup/catalogue/find.ts';
import { parseTarget } from '../../backup/restore/pitr/target.ts';
import { describeBackup, describeWays } from '../../backup/show/describe.ts';
import { findWays, type Wanted } from '../../backup/show/way.ts';
import { holdHistory } from '../../catalogue/hold.ts';
import { DbopsError } from '../../errors.ts';
import { findZstd } from '../../process/tools.ts';
import { getServerIdentity } from '../../sql/export.ts';
import type { Store } from '../../storage/store.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { jobIfReachable, openChosen, storesOf } from '../stores.ts';

interface Options {
  to?: string;
  store?: string;
  system?: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops backup show 20261115', about: 'everything that is known of a backup, and every file' },
    {
      command: 'dbops backup show --to "2026-11-20 14:30+09"',
      about: 'whether one can get there, from what, and what to type',
    },
  ],
  notes:
    'Reads the stores alone; with a database at hand, --to means its cluster and this database. Exit 6 where nothing at all\n' +
    'can be brought back. How long it takes is told only where a drill has measured it.',
  declare(cmd) {
    cmd.argument('[id]', 'the backup, by its id or the beginning of it');
    cmd.option('--to <target>', 'a time with its zone, or a position such as 16/B374D848');
    cmd.option('--store <name>', 'look into this store only');
    cmd.option('--system <identifier>', 'with --to: which cluster, where the stores have several');
  },
  async run(context): Promise<Result> {
    const { args, options, log, signal } = context;
    if ((args[0] === undefined) === (options.to === undefined))
      throw new DbopsError('usage', 'name a backup, or give --to, one of them');
    const stores = storesOf(context);
    const onProblem = (store: Store, error: DbopsError) =>
      log.warn({ event: 'store_failed', store: store.name }, `store "${store.name}": ${error.message}`);
    try {
      const opened = await openChosen(context, stores, options.store);
      if (options.to !== undefined) return await showWays(context, { opened, open: stores.open, onProblem });
      const found = await findBackup(opened, args[0] ?? '', { signal, onProblem });
      const [first] = found.stores;
      const holds = first === undefined ? [] : await holdHistory(first, found.place, signal);
      const { manifest, place, hold, verified, drill } = found;
      return {
        data: {
          manifest,
          place,
          stores: found.stores.map((store) => store.name),
          hold: hold ?? null,
          verified,
          drill: drill ?? null,
        },
        text: describeBackup(found, holds),
      };
    } finally {
      await stores.closeAll();
    }
  },
});

async function showWays(
  context: CommandContext<Options>,
  where: {
    opened: Store[];
    open: (name: string) => Promise<Store>;
    onProblem: (store: Store, error: DbopsError) => void;
  },
): Promise<Result> {
  const { options, settings, signal, env } = context;
  const wanted = wantedOf(options.to ?? '');
  const reached = options.system === undefined ? await jobIfReachable(context, null) : { job: undefined };
  const system =
    reached.job === undefined ? options.system : (await getServerIdentity(reached.job.db)).systemIdentifier;
  const walNames = options.store === undefined ? settings.wal.copies : [options.store];
  const ways = await findWays(
    {
      stores: where.opened,
      walStores: await Promise.all(walNames.map(where.open)),
      zstd: await findZstd(env['PATH'] ?? ''),
      system,
      database: reached.job?.db.server.database,
      signal,
      jobs: settings.backup.jobs * 4,
      onProblem: where.onProblem,
    },
    wanted,
  );
  return { data: ways, text: describeWays(ways), exitCode: ways.ways.length === 0 ? 6 : 0 };
}

/** "2026-11-20 14:30+09" and "16/B374D848"; time: and lsn: before them are taken as "restore pitr" does. */
function wantedOf(text: string): Wanted {
  const kind = /^[0-9A-Fa-f]+\/[0-9A-Fa-f]+$/.test(text) ? 'lsn' : 'time';
  const target = parseTarget(/^(time|lsn|name):|^(immediate|latest)$/.test(text) ? text : `${kind}:${text}`);
  if (target.kind === 'time' || target.kind === 'lsn') return target;
  throw new DbopsError('usage', `--to is a time or a position here, not "${text}"`, {
    hint: 'Restore points are looked for by: dbops restore pitr --to name:... --dry-run.',
  });
}
