// The figures of `dbops archive`.
import { gentle } from './gentle.mjs';
import { memory } from './memory.mjs';
import { query } from './query.mjs';
import { restore } from './restore.mjs';
import { run, runToS3 } from './run.mjs';

/** In the order of the table. @type {import('../partition/index.mjs').Measurement[]} */
export const measurements = [run, runToS3, memory, restore, query, gentle];
