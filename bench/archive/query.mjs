import { withClient } from '../lib/database.mjs';
import { dbopsProgram, runDbops } from '../lib/dbops.mjs';
import { median, timeOnce } from '../lib/measure.mjs';
import { seconds } from '../lib/report.mjs';
import { createMonth, PARTITION, writeArchiveConfig } from './data.mjs';

const TARGET = 0.1;
const OTHER_MONTHS = [1, 2, 3, 4, 6, 7, 8, 9, 10];
const DAY =
  'select count(*), sum(value) from public.events where "at" >= \'2026-05-17\' and "at" < \'2026-05-18\'';

/** One day out of ten archived months, of which the queried one is of the full size, against restoring that month. */
export const query = {
  name: 'query',
  /** @param {import('../partition/index.mjs').Bench} bench */
  async run(bench) {
    const url = await bench.emptyDatabase('archive_query');
    await withClient(url, async (client) => {
      await client.query(`create table public.events (
        id bigint not null, at timestamptz not null, machine int not null, value numeric(12,2), payload jsonb, note text,
        primary key (id, at)) partition by range (at)`);
      for (const month of OTHER_MONTHS) await createMonth(client, month, 200_000);
      await createMonth(client, 5, 4_000_000);
      await createMonth(client, 11, 1);
    });
    const { config } = writeArchiveConfig(bench.dir, 'query', { archive: 'parquet: true' });
    await runDbops(['archive', 'run', '--max', '20', '--until', 'verified'], { url, config });
    const { stdout } = await runDbops(['archive', 'list', '--json'], { url, config });
    const { archives } =
      /** @type {{ archives: { id: string, partition: { schema: string, name: string } }[] }} */ (
        JSON.parse(stdout).data
      );
    const isQueried = (/** @type {{ schema: string, name: string }} */ { schema, name }) =>
      `${schema}.${name}` === PARTITION;
    const id = archives.find(({ partition }) => isQueried(partition))?.id ?? '';
    const empty = await bench.emptyDatabase('archive_queried');
    const asked = await runDbops(['archive', 'query', DAY], { url, config });
    const read =
      asked.stderr
        .split('\n')
        .find((line) => line.includes('archive'))
        ?.trim() ?? '';
    /** @type {{ ours: number[], restores: number[] }} */
    const times = { ours: [], restores: [] };
    for (let round = 0; round < bench.rounds; round += 1) {
      times.ours.push(timeOnce(dbopsProgram(['archive', 'query', DAY], { url, config })));
      const args = ['archive', 'restore', id, '--into', PARTITION, '--yes'];
      times.restores.push(timeOnce(dbopsProgram(args, { url: empty, config })));
      await withClient(empty, (client) => client.query(`drop table ${PARTITION}`));
    }
    await bench.drop(url);
    await bench.drop(empty);
    const ratio = median(times.ours.map((ms, round) => ms / (times.restores[round] ?? Number.NaN)));
    return [
      {
        what: `archive query of one day in ${OTHER_MONTHS.length + 1} months of Parquet, against restoring the month; ${read}`,
        target: `at most ${TARGET} times, reads only what can match`,
        measured: `${seconds(median(times.ours))}, restore ${seconds(median(times.restores))}`,
        ratio: ratio.toFixed(3),
        met: ratio <= TARGET,
      },
    ];
  },
};
