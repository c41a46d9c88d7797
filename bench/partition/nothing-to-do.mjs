import path from 'node:path';
import { exampleConfig } from '../../scripts/lib/ai-factory.mjs';
import { withClient } from '../lib/database.mjs';
import { dbopsProgram, runDbops, writeConfig } from '../lib/dbops.mjs';
import { median, timeInTurns } from '../lib/measure.mjs';
import { milliseconds, seconds } from '../lib/report.mjs';

const RATIO_TARGET = 2.0;
const MANY = { tables: 200, partitionsEach: 100, secondsTarget: 1.5, statementsTarget: 12 };

/** `ensure` as cron finds it nearly always: everything is there. */
export const nothingToDo = {
  name: 'nothing-to-do',
  /** @param {import('./index.mjs').Bench} bench */
  async run({ rounds, example, psql }) {
    const url = await example('nothing_to_do');
    const ensure = ['partition', 'ensure'];
    await runDbops(ensure, { url, config: exampleConfig });
    const times = timeInTurns(
      {
        psql: { command: psql, args: ['-X', '-c', 'select 1', url] },
        node: { command: process.execPath, args: ['-e', '0'] },
        dbops: dbopsProgram(ensure, { url, config: exampleConfig }),
      },
      rounds,
    );
    const both = times.psql.map((ms, round) => ms + (times.node[round] ?? Number.NaN));
    const ratio = median(times.dbops.map((ms, round) => ms / (both[round] ?? Number.NaN)));
    return [
      {
        what: "ensure with nothing to do, 15 tables, against psql -c 'select 1' plus node -e 0",
        target: `at most ${RATIO_TARGET.toFixed(1)} times`,
        measured: `${milliseconds(median(times.dbops))}, psql ${milliseconds(median(times.psql))}, node ${milliseconds(median(times.node))}`,
        ratio: ratio.toFixed(2),
        met: ratio <= RATIO_TARGET,
      },
    ];
  },
};

/** The same on a server with many partitions: the number of statements must not grow with them. */
export const manyPartitions = {
  name: 'many-partitions',
  /** @param {import('./index.mjs').Bench} bench */
  async run({ rounds, emptyDatabase, dir }) {
    const url = await emptyDatabase('many_partitions');
    const tables = Array.from({ length: MANY.tables }, (_, number) => `events_${number + 1}`);
    await createDailyTables(url, tables);
    const config = writeConfig(path.join(dir, 'many-partitions.yaml'), {
      tables,
      key: () => 'at',
      interval: 'day',
      premake: 7,
      naming: '{table}_y{yyyy}m{mm}d{dd}',
    });
    await runDbops(['partition', 'ensure'], { url, config });
    const { stderr } = await runDbops(['partition', 'ensure', '-v', '--log-format', 'json'], { url, config });
    const statements = stderr.split('\n').filter((line) => line.includes('"event":"statement"')).length;
    const { dbops } = timeInTurns(
      { dbops: dbopsProgram(['partition', 'ensure'], { url, config }) },
      Math.min(rounds, 5),
    );
    const took = median(dbops);
    const total = (MANY.tables * MANY.partitionsEach).toLocaleString('en');
    return [
      {
        what: `ensure with nothing to do, ${MANY.tables} tables with ${total} partitions`,
        target: `under ${MANY.secondsTarget} s, at most ${MANY.statementsTarget} statements`,
        measured: `${seconds(took)}, ${statements} statements`,
        met: took < MANY.secondsTarget * 1000 && statements > 0 && statements <= MANY.statementsTarget,
      },
    ];
  },
};

/**
 * Each table has its partitions from some months ago until a week from now.
 * @param {string} url
 * @param {string[]} tables
 */
async function createDailyTables(url, tables) {
  await withClient(url, async (client) => {
    // Loading is not what is measured.
    await client.query("set synchronous_commit to off; set timezone to 'UTC'");
    for (const table of tables) {
      await client.query(`
        create table public.${table} (
          id bigint not null, at timestamptz not null, payload text, primary key (id, at)
        ) partition by range (at);
        do $$
        declare
          day date;
        begin
          for number in ${8 - MANY.partitionsEach}..7 loop
            day := current_date + number;
            execute format('create table public.%I partition of public.${table} for values from (%L) to (%L)',
              to_char(day, '"${table}_y"YYYY"m"MM"d"DD'), day, day + 1);
          end loop;
        end
        $$`);
    }
  });
}
