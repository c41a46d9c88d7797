import { withClient } from '../lib/database.mjs';
import { runWatched } from '../lib/measure.mjs';
import { megabytes, seconds } from '../lib/report.mjs';
import { archiveProgram, createEvents, forgetArchives, writeArchiveConfig } from './data.mjs';

const TARGET_BYTES = 150e6;

/** Memory must not grow with the table: 1 GB, and ten times as much. */
export const memory = {
  name: 'memory',
  /** @param {import('../partition/index.mjs').Bench} bench */
  async run(bench) {
    const url = await bench.emptyDatabase('archive_memory');
    await createEvents(url);
    const { config } = writeArchiveConfig(bench.dir, 'memory');
    const small = await figure(url, config);
    await forgetArchives(url);
    await withClient(url, async (client) => {
      await client
        .query('alter table public.events_y2026m05 drop constraint events_y2026m05_pkey')
        .catch(() => undefined);
      for (let copy = 1; copy < 10; copy += 1) {
        await client.query(`insert into public.events_y2026m05
          select id + ${copy} * 10000000, at, machine, value, payload, note from public.events_y2026m05 where id < 10000000`);
      }
    });
    const large = await figure(url, config);
    await bench.drop(url);
    return [small, large];
  },
};

/**
 * @param {string} url
 * @param {string} config
 */
async function figure(url, config) {
  const { code, stderr, peakRssBytes, milliseconds } = await runWatched(archiveProgram(url, config));
  if (code !== 0) throw new Error(stderr);
  const heapBytes = await withClient(url, async (client) => {
    const { rows } = await client.query("select pg_relation_size('public.events_y2026m05')::float8 as bytes");
    return /** @type {number} */ (rows[0].bytes);
  });
  return {
    what: `peak RSS of dbops, archive run of a partition of ${(heapBytes / 1e9).toFixed(1)} GB`,
    target: 'under 150 MB',
    measured: `${megabytes(peakRssBytes)} in ${seconds(milliseconds)}`,
    met: peakRssBytes < TARGET_BYTES,
  };
}
