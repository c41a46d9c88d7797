// A writer as an application is one: the same statement again and again, each one's time kept.
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/**
 * @typedef {object} Writes
 * @property {number} count
 * @property {string[]} failures messages of the writes that failed
 * @property {(from?: number, to?: number) => number} longestMs the longest write that was under way between two
 *   times of performance.now()
 */

/**
 * Starts writing on a connection of its own, one write after the other.
 * @param {string} url
 * @param {{ text: string, values?: () => unknown[], perSecond: number }} write
 * @returns {Promise<{ soFar: () => Writes, stop: () => Promise<Writes> }>}
 */
export async function startWriter(url, { text, values = () => [], perSecond }) {
  const client = new pg.Client({ connectionString: url, application_name: 'writer' });
  await client.connect();
  /** @type {{ from: number, to: number }[]} */
  const spans = [];
  /** @type {string[]} */
  const failures = [];
  let stopping = false;
  const loop = async () => {
    while (!stopping) {
      const from = performance.now();
      try {
        await client.query({ name: 'write', text, values: values() });
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
      }
      const to = performance.now();
      spans.push({ from, to });
      const pauseMs = 1000 / perSecond - (to - from);
      if (pauseMs > 0) await sleep(pauseMs);
    }
  };
  const soFar = () => ({
    count: spans.length,
    failures,
    longestMs: (from = 0, to = Infinity) =>
      spans
        .filter((span) => span.to >= from && span.from <= to)
        .reduce((longest, span) => Math.max(longest, span.to - span.from), 0),
  });
  const running = loop();
  return {
    soFar,
    stop: async () => {
      stopping = true;
      await running;
      await client.end();
      return soFar();
    },
  };
}
