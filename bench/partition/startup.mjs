import { dbopsProgram } from '../lib/dbops.mjs';
import { median, timeInTurns } from '../lib/measure.mjs';
import { milliseconds } from '../lib/report.mjs';

const TARGET = 1.35;

/** The start of the program itself, against an empty program of the same Node. */
export const startup = {
  name: 'startup',
  /** @param {import('./index.mjs').Bench} bench */
  async run({ rounds }) {
    const times = timeInTurns(
      {
        node: { command: process.execPath, args: ['-e', '0'] },
        version: dbopsProgram(['--version']),
        help: dbopsProgram(['--help']),
      },
      rounds,
    );
    return /** @type {const} */ (['version', 'help']).map((name) => {
      const ratio = median(times[name].map((ms, round) => ms / (times.node[round] ?? Number.NaN)));
      return {
        what: `dbops --${name}, against node -e 0`,
        target: `at most ${TARGET} times`,
        measured: `${milliseconds(median(times[name]))}, node ${milliseconds(median(times.node))}`,
        ratio: ratio.toFixed(2),
        met: ratio <= TARGET,
      };
    });
  },
};
