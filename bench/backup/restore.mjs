import path from 'node:path';
import { createDatabase, dropDatabase } from '../lib/database.mjs';
import { timeOnce } from '../lib/measure.mjs';
import { inTurns, memoryFigure, ratioFigure, shell, timeDbops } from './compare.mjs';
import { backupSite, fileStore, writeBackupConfig } from './site.mjs';

const TARGET = 0.7;
const RESTORED = 'restored';

/** @typedef {import('../partition/index.mjs').Bench} Bench */

/** A logical backup into a new database, against pg_restore of a -Fc file that lies on the disk already. */
export const restore = {
  name: 'restore',
  /** @param {Bench} bench */
  async run(bench) {
    const site = await backupSite(bench);
    const { url, server } = site;
    const { config } = writeBackupConfig(site, 'restore');
    const { stdout } = await timeDbops(['backup', 'create', '--kind', 'logical', '--json'], { url, config });
    const { id } = JSON.parse(stdout).data;
    const folder = site.folder('restore-peer');
    timeOnce(shell(`'${bench.binDir}/pg_dump' -Fc '${url}' | ${fileStore(folder).into('dump.custom')}`));
    const file = path.join(folder, 'dump.custom');
    const times = await inTurns(
      bench.rounds,
      async () => {
        const args = ['restore', 'database', id, '--into', RESTORED, '--yes'];
        const run = await timeDbops(args, { url, config });
        await dropDatabase(server.url, RESTORED);
        return run;
      },
      {
        pgRestore: async () => {
          const target = await createDatabase(server.url, RESTORED, 'template0');
          const ms = timeOnce(shell(`'${bench.binDir}/pg_restore' -d '${target}' '${file}'`));
          await dropDatabase(server.url, RESTORED);
          return ms;
        },
      },
    );
    const what = 'restore database of eight tables from a file store';
    return [
      ratioFigure(
        `${what}, against pg_restore of the -Fc file without -j`,
        times.ours,
        times.others.pgRestore,
        TARGET,
      ),
      memoryFigure(what, times.peakRssBytes),
    ];
  },
};
