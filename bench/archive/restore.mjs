import fs from 'node:fs';
import path from 'node:path';
import { withClient } from '../lib/database.mjs';
import { dbopsProgram } from '../lib/dbops.mjs';
import { median, timeOnce } from '../lib/measure.mjs';
import { seconds } from '../lib/report.mjs';
import { dumpByHand, shell } from './by-hand.mjs';
import { archiveOnce, createEvents, PARTITION, ROWS, writeArchiveConfig } from './data.mjs';

const TARGET = 0.75;
const DIGEST_TARGET = 1.1;

/** An equal table with its indexes, against gunzip | psql of a plain dump, which builds them after the rows as well. */
export const restore = {
  name: 'restore',
  /** @param {import('../partition/index.mjs').Bench} bench */
  async run(bench) {
    const url = await bench.emptyDatabase('archive_restore');
    await createEvents(url);
    await withClient(url, (client) => client.query('create index on public.events (machine, at)'));
    const { config } = writeArchiveConfig(bench.dir, 'restore');
    const id = await archiveOnce(url, config);
    const dump = path.join(bench.dir, 'restore.gz');
    timeOnce(dumpByHand(bench, url, `cat > '${dump}'`));
    const empty = await bench.emptyDatabase('archive_restored');
    /** @type {Record<'bytes' | 'digest' | 'hand', number[]>} */
    const times = { bytes: [], digest: [], hand: [] };
    for (let round = 0; round < bench.rounds; round += 1) {
      for (const verify of /** @type {const} */ (['bytes', 'digest'])) {
        const args = ['archive', 'restore', id, '--into', PARTITION, '--verify', verify, '--yes'];
        times[verify].push(timeOnce(dbopsProgram(args, { url: empty, config })));
        await withClient(empty, (client) => client.query(`drop table ${PARTITION}`));
      }
      // The dump attaches the partition and its indexes to a parent that is not there: those lines are left out.
      const load = `gunzip -c '${dump}' | grep -v 'ATTACH PARTITION' | '${bench.psql}' -X -q '${empty}' >/dev/null`;
      times.hand.push(timeOnce(shell(load)));
      await withClient(empty, (client) => client.query(`drop table ${PARTITION}`));
    }
    fs.rmSync(dump);
    await bench.drop(url);
    await bench.drop(empty);
    return [
      figure('with the bytes and counts checked', times.bytes, times.hand, TARGET),
      figure('with --verify digest', times.digest, times.hand, DIGEST_TARGET),
    ];
  },
};

/**
 * @param {string} what
 * @param {number[]} ours
 * @param {number[]} hand
 * @param {number} target
 */
function figure(what, ours, hand, target) {
  const ratio = median(ours.map((ms, round) => ms / (hand[round] ?? Number.NaN)));
  return {
    what: `archive restore of ${ROWS.toLocaleString('en')} rows and two indexes, ${what}, against gunzip | psql`,
    target: `at most ${target} times`,
    measured: `${seconds(median(ours))}, by hand ${seconds(median(hand))}`,
    ratio: ratio.toFixed(2),
    met: ratio <= target,
  };
}
