// The program that is measured, as a user starts it.
import fs from 'node:fs';
import path from 'node:path';
import { projectRoot } from '../../scripts/lib/run.mjs';
import { runWatched } from './measure.mjs';

/** @typedef {import('./measure.mjs').Program} Program */

const entry = path.join(projectRoot, 'bin', 'dbops.js');

/**
 * @param {string[]} args
 * @param {{ url?: string, config?: string }} [options]
 * @returns {Program}
 */
export function dbopsProgram(args, { url, config } = {}) {
  const all = [entry, ...args, ...(config === undefined ? [] : ['--config', config])];
  return { command: process.execPath, args: all, env: url === undefined ? {} : { DATABASE_URL: url } };
}

/**
 * Runs dbops once and returns what it printed, its time and its peak memory. Throws on any exit code but those given.
 * @param {string[]} args
 * @param {{ url: string, config: string, codes?: number[] }} options
 */
export async function runDbops(args, { url, config, codes = [0] }) {
  const result = await runWatched(dbopsProgram(args, { url, config }));
  if (!codes.includes(result.code ?? -1)) {
    throw new Error(`dbops ${args.join(' ')} ended with ${result.code}: ${result.stderr.trim()}`);
  }
  return result;
}

/**
 * Writes a configuration for tables that are all alike.
 * @param {string} file
 * @param {{ tables: string[], key: (table: string) => string, interval: string, premake: number, naming: string }} wish
 */
export function writeConfig(file, { tables, key, interval, premake, naming }) {
  const items = tables.map((table) =>
    JSON.stringify({ table: `public.${table}`, key: key(table), interval, premake, naming }),
  );
  fs.writeFileSync(file, `partitions:\n${items.map((item) => `  - ${item}\n`).join('')}`);
  return file;
}
