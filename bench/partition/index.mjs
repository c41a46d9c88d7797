// The figures of `dbops partition`, and what each of them is given to be measured with.
import { convert } from './convert.mjs';
import { create, createMany } from './create.mjs';
import { detach } from './detach.mjs';
import { manyPartitions, nothingToDo } from './nothing-to-do.mjs';
import { stall } from './stall.mjs';
import { startup } from './startup.mjs';

/**
 * @typedef {object} Bench
 * @property {number} rounds
 * @property {'full' | 'small'} size of the data, where a suite knows a small one
 * @property {string} dir for files of this run; removed after it
 * @property {string} psql
 * @property {string} binDir of the server, with its client tools
 * @property {string | null} partmanVersion null where the server has no pg_partman 4
 * @property {(name: string, options?: { rows?: number }) => Promise<string>} example a database with
 *   examples/ai-factory in it; returns its url
 * @property {(name: string) => Promise<string>} emptyDatabase
 * @property {(url: string, name: string) => Promise<string>} clone
 * @property {(url: string) => Promise<void>} drop
 */

/**
 * @typedef {object} Measurement
 * @property {string} name for --only
 * @property {(bench: Bench) => Promise<import('../lib/report.mjs').Figure[]>} run
 */

/** In the order of the table. @type {Measurement[]} */
export const measurements = [
  stall,
  nothingToDo,
  manyPartitions,
  create,
  detach,
  createMany,
  convert,
  startup,
];
