import fs from 'node:fs';
import { timeOnce } from '../lib/measure.mjs';
import { inTurns, memoryFigure, ratioFigure, shell, timeDbops } from './compare.mjs';
import { archiveWith, backupSite, fileStore, pgbackrestSite, s3Store, writeBackupConfig } from './site.mjs';

const BASEBACKUP_TARGET = 1.15;
const PGBACKREST_TARGET = 1;

/** @typedef {import('../partition/index.mjs').Bench} Bench */
/** @typedef {import('./site.mjs').Site} Site */

/**
 * The WAL of the backup goes into its tar in both, since the server's archive here is that of pgBackRest.
 * @param {Site} site
 * @param {import('./site.mjs').PeerStore} store
 */
function byHand(site, store) {
  const from = `-h ${site.server.host} -p ${site.server.port} -U ${site.server.user}`;
  const command = `'${site.binDir}/pg_basebackup' ${from} -Ft -D - -X fetch -c fast`;
  return shell(`${command} | zstd -q -T2 -c | ${store.into('base.tar.zst')}`);
}

/** To a file store, against pg_basebackup | zstd and against pgBackRest's own repository on the same disk. */
export const base = {
  name: 'base',
  /** @param {Bench} bench */
  async run(bench) {
    const site = await backupSite(bench);
    const { config, folder } = writeBackupConfig(site, 'base');
    const store = fileStore(site.folder('base-peer'));
    const pgbackrest = pgbackrestSite(site);
    timeOnce(pgbackrest.program('stanza-create'));
    await archiveWith(site, pgbackrest.push);
    const times = await inTurns(
      bench.rounds,
      async () => {
        fs.rmSync(folder, { recursive: true, force: true });
        fs.mkdirSync(folder);
        return await timeDbops(['backup', 'create', '--kind', 'base'], { url: site.url, config });
      },
      {
        basebackup: byHand(site, store),
        pgbackrest: pgbackrest.program('--type=full', '--no-expire-auto', 'backup'),
      },
    );
    const what = 'backup create --kind base to a file store';
    return [
      ratioFigure(
        `${what}, against pg_basebackup -Ft | zstd -T2 | ${store.label}`,
        times.ours,
        times.others.basebackup,
        BASEBACKUP_TARGET,
      ),
      ratioFigure(
        `${what}, against ${pgbackrest.version} full, two processes, zst, on the same disk`,
        times.ours,
        times.others.pgbackrest,
        PGBACKREST_TARGET,
      ),
      memoryFigure(what, times.peakRssBytes),
    ];
  },
};

/** To a store that speaks S3; pgBackRest wants TLS there, so it is compared on the disk alone. */
export const baseToS3 = {
  name: 'base-s3',
  /** @param {Bench} bench */
  async run(bench) {
    const site = await backupSite(bench);
    const s3 = await s3Store(site);
    try {
      const { config } = writeBackupConfig(site, 'base-s3', { store: s3.yaml });
      const times = await inTurns(
        bench.rounds,
        () => timeDbops(['backup', 'create', '--kind', 'base'], { url: site.url, config }),
        { basebackup: byHand(site, s3.peer) },
      );
      const what = 'backup create --kind base to S3';
      return [
        ratioFigure(
          `${what}, against pg_basebackup -Ft | zstd -T2 | ${s3.peer.label}`,
          times.ours,
          times.others.basebackup,
          BASEBACKUP_TARGET,
        ),
        memoryFigure(what, times.peakRssBytes),
      ];
    } finally {
      await s3.stop();
    }
  },
};
