// Runs dbops and its peers in turns, and makes rows of the table of it.
import { runDbops } from '../lib/dbops.mjs';
import { median, timeOnce } from '../lib/measure.mjs';
import { megabytes, seconds } from '../lib/report.mjs';

/** @typedef {import('../lib/measure.mjs').Program} Program */
/** @typedef {import('../lib/report.mjs').Figure} Figure */

const MEMORY_TARGET_BYTES = 200e6;

/** @typedef {{ ms: number, peakRssBytes: number, stdout: string }} Run */

/**
 * Runs dbops once.
 * @param {string[]} args
 * @param {{ url: string, config: string }} options
 * @returns {Promise<Run>}
 */
export async function timeDbops(args, options) {
  const { milliseconds, peakRssBytes, stdout } = await runDbops(args, options);
  return { ms: milliseconds, peakRssBytes, stdout };
}

/**
 * Runs ours and the others in turns; nothing warms up, since all read the same files of the same server.
 * @template {string} Name
 * @param {number} rounds
 * @param {() => Promise<Run>} ours
 * @param {Record<Name, Program | (() => Promise<number>)>} others
 */
export async function inTurns(rounds, ours, others) {
  const names = /** @type {Name[]} */ (Object.keys(others));
  /** @type {Run[]} */
  const own = [];
  /** @type {Record<string, number[]>} */
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    own.push(await ours());
    for (const name of names) {
      const other = others[name];
      times[name]?.push(typeof other === 'function' ? await other() : timeOnce(other));
    }
  }
  return {
    ours: own.map((run) => run.ms),
    peakRssBytes: Math.max(...own.map((run) => run.peakRssBytes)),
    others: /** @type {Record<Name, number[]>} */ (times),
  };
}

/**
 * @param {string} what
 * @param {number[]} ours
 * @param {number[]} others
 * @param {number | null} target the most that ours may take, as a multiple; null for a row to compare with
 * @returns {Figure}
 */
export function ratioFigure(what, ours, others, target) {
  const ratio = median(ours.map((ms, round) => ms / (others[round] ?? Number.NaN)));
  return {
    what,
    target: target === null ? '-' : `at most ${target.toFixed(2)} times`,
    measured: `${seconds(median(ours))}, theirs ${seconds(median(others))}`,
    ratio: ratio.toFixed(2),
    ...(target === null ? {} : { met: ratio <= target }),
  };
}

/**
 * @param {string} what
 * @param {number} peakRssBytes
 * @returns {Figure}
 */
export function memoryFigure(what, peakRssBytes) {
  return {
    what: `peak memory of dbops itself: ${what}`,
    target: `under ${megabytes(MEMORY_TARGET_BYTES)}`,
    measured: megabytes(peakRssBytes),
    met: peakRssBytes > 0 && peakRssBytes < MEMORY_TARGET_BYTES,
  };
}

/** @param {string} text */
export function shell(text) {
  return { command: 'bash', args: ['-o', 'pipefail', '-c', text] };
}
