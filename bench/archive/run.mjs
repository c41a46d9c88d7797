import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startS3ForBench } from '../lib/s3.mjs';
import { median, timeOnce } from '../lib/measure.mjs';
import { seconds } from '../lib/report.mjs';
import { archiveProgram, createEvents, forgetArchives, ROWS, writeArchiveConfig } from './data.mjs';
import { copyByHand, dumpByHand } from './by-hand.mjs';

const DUMP_TARGET = 0.5;
const COPY_TARGET = 1.35;

/** Exported, uploaded, read back and proven, against two ways by hand that prove nothing. File store. */
export const run = {
  name: 'run',
  /** @param {import('../partition/index.mjs').Bench} bench */
  async run(bench) {
    const url = await bench.emptyDatabase('archive_run');
    await createEvents(url);
    const { config } = writeArchiveConfig(bench.dir, 'run');
    const file = (/** @type {string} */ name) => `cat > '${path.join(bench.dir, name)}'`;
    const figures = await compare(bench, url, config, 'a file store', {
      dump: dumpByHand(bench, url, file('dump.gz')),
      copy: await copyByHand(bench, url, (half) => file(`half-${half}.zst`)),
    });
    await bench.drop(url);
    return figures;
  },
};

/** The same to a store that speaks S3, on this host. */
export const runToS3 = {
  name: 'run-s3',
  /** @param {import('../partition/index.mjs').Bench} bench */
  async run(bench) {
    const s3 = await startS3ForBench(bench.dir);
    try {
      const url = await bench.emptyDatabase('archive_s3');
      await createEvents(url);
      const { config } = writeArchiveConfig(bench.dir, 's3', { store: s3.yaml });
      const uploader = fileURLToPath(new URL('../lib/upload.mjs', import.meta.url));
      const upload = (/** @type {string} */ name) =>
        `'${process.execPath}' '${uploader}' '${s3.endpoint}' '${s3.bucket}' '${name}'`;
      const figures = await compare(bench, url, config, 'an S3 store', {
        dump: dumpByHand(bench, url, upload('dump.gz')),
        copy: await copyByHand(bench, url, (half) => upload(`half-${half}.zst`)),
      });
      await bench.drop(url);
      return figures;
    } finally {
      await s3.stop();
    }
  },
};

/**
 * @param {import('../partition/index.mjs').Bench} bench
 * @param {string} url
 * @param {string} config
 * @param {string} store
 * @param {{ dump: import('../lib/measure.mjs').Program, copy: import('../lib/measure.mjs').Program }} byHand
 */
async function compare(bench, url, config, store, byHand) {
  /** @type {{ ours: number[], dump: number[], copy: number[] }} */
  const times = { ours: [], dump: [], copy: [] };
  for (let round = 0; round <= bench.rounds; round += 1) {
    const ours = timeOnce(archiveProgram(url, config));
    await forgetArchives(url);
    const copy = timeOnce(byHand.copy);
    const dump = timeOnce(byHand.dump);
    // The first round warms up.
    if (round === 0) continue;
    times.ours.push(ours);
    times.copy.push(copy);
    times.dump.push(dump);
  }
  const rows = ROWS.toLocaleString('en');
  const figure = (
    /** @type {string} */ what,
    /** @type {number} */ target,
    /** @type {number[]} */ others,
  ) => {
    const ratio = median(times.ours.map((ms, round) => ms / (others[round] ?? Number.NaN)));
    return {
      what: `archive run to ${store}, verified, ${rows} rows, against ${what}`,
      target: `at most ${target.toFixed(2)} times`,
      measured: `${seconds(median(times.ours))}, by hand ${seconds(median(others))}`,
      ratio: ratio.toFixed(2),
      met: ratio <= target,
    };
  };
  return [
    figure('pg_dump -t | gzip', DUMP_TARGET, times.dump),
    figure('two psql copy | zstd without any verification', COPY_TARGET, times.copy),
  ];
}
