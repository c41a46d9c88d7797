import fs from 'node:fs';
import path from 'node:path';
import { createDatabase, dropDatabase } from '../lib/database.mjs';
import { inTurns, memoryFigure, ratioFigure, shell, timeDbops } from './compare.mjs';
import {
  backupSite,
  createTable,
  fileStore,
  ONE_TABLE_ROWS,
  s3Store,
  scale,
  writeBackupConfig,
} from './site.mjs';

const TARGET = 0.65;

/** @typedef {import('../partition/index.mjs').Bench} Bench */

/** A database of eight tables to a file store, against pg_dump -Fc. */
export const logical = {
  name: 'logical',
  /** @param {Bench} bench */
  async run(bench) {
    const site = await backupSite(bench);
    const { config, folder } = writeBackupConfig(site, 'logical');
    return await compare(bench, site.url, config, 'a file store', {
      store: fileStore(site.folder('logical-peer')),
      forget: () => fs.rmSync(folder, { recursive: true, force: true }),
      folder,
    });
  },
};

/** The same to a store that speaks S3, on this host. */
export const logicalToS3 = {
  name: 'logical-s3',
  /** @param {Bench} bench */
  async run(bench) {
    const site = await backupSite(bench);
    const s3 = await s3Store(site);
    try {
      const { config, folder } = writeBackupConfig(site, 'logical-s3', { store: s3.yaml });
      return await compare(bench, site.url, config, 'S3', {
        store: s3.peer,
        forget: () => undefined,
        folder,
      });
    } finally {
      await s3.stop();
    }
  },
};

/**
 * @param {Bench} bench
 * @param {string} url
 * @param {string} config
 * @param {string} place
 * @param {{ store: import('./site.mjs').PeerStore, forget: () => void, folder: string }} options
 */
async function compare(bench, url, config, place, { store, forget, folder }) {
  const dump = `'${bench.binDir}/pg_dump' -Fc '${url}' | ${store.into('dump.custom')}`;
  const times = await inTurns(
    bench.rounds,
    async () => {
      forget();
      fs.mkdirSync(folder, { recursive: true });
      return await timeDbops(['backup', 'create', '--kind', 'logical'], { url, config });
    },
    { dump: shell(dump) },
  );
  const what = `backup create --kind logical of eight tables to ${place}`;
  return [
    ratioFigure(`${what}, against pg_dump -Fc | ${store.label}`, times.ours, times.others.dump, TARGET),
    memoryFigure(what, times.peakRssBytes),
  ];
}

/** One big table, where parallel sessions have nothing to share out. */
export const logicalOne = {
  name: 'logical-one',
  /** @param {Bench} bench */
  async run(bench) {
    const site = await backupSite(bench);
    const url = await createDatabase(site.server.url, 'one');
    try {
      await createTable(url, 'measured', scale(bench, ONE_TABLE_ROWS));
      const { config, folder } = writeBackupConfig(site, 'logical-one');
      const store = fileStore(site.folder('logical-one-peer'));
      const directory = path.join(site.folder('logical-one-directory'), 'dump');
      const dump = `'${bench.binDir}/pg_dump'`;
      const times = await inTurns(
        bench.rounds,
        async () => {
          fs.rmSync(folder, { recursive: true, force: true });
          fs.mkdirSync(folder);
          return await timeDbops(['backup', 'create', '--kind', 'logical'], { url, config });
        },
        {
          custom: shell(`${dump} -Fc '${url}' | ${store.into('dump.custom')}`),
          directory: shell(`rm -rf '${directory}' && ${dump} -Fd -j2 -f '${directory}' '${url}'`),
        },
      );
      const what = 'backup create --kind logical of one big table to a file store';
      return [
        ratioFigure(`${what}, against pg_dump -Fc | ${store.label}`, times.ours, times.others.custom, null),
        ratioFigure(
          'pg_dump -Fd -j2 of it alone, stored nowhere, against the same',
          times.others.directory,
          times.others.custom,
          null,
        ),
        memoryFigure(what, times.peakRssBytes),
      ];
    } finally {
      await dropDatabase(site.server.url, 'one');
    }
  },
};
