// Loads examples/ai-factory, for the quickstart and the benchmark. Imports pg, so only once the packages are there.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { projectRoot } from './run.mjs';

const example = path.join(projectRoot, 'examples', 'ai-factory');

/** The configuration of the fifteen tables. */
export const exampleConfig = path.join(example, 'dbops.yaml');

/**
 * Creates the tables and their partitions up to now in an empty database.
 * @param {string} url
 * @param {{ now?: string }} [options] another day to stand for today, such as 2026-07-15
 */
export async function loadExampleSchema(url, { now } = {}) {
  const client = new pg.Client({ connectionString: url, application_name: 'load ai-factory' });
  await client.connect();
  try {
    await client.query('begin');
    if (now !== undefined) await client.query("select set_config('ai_factory.now', $1, false)", [now]);
    await client.query(fs.readFileSync(path.join(example, 'schema.sql'), 'utf8'));
    await client.query('commit');
  } finally {
    await client.end();
  }
}

/**
 * Fills the tables. Returns what the generator printed, rows by table.
 * @param {string} url
 * @param {number} rows of all tables together
 */
export function generateExampleRows(url, rows) {
  const args = [path.join(example, 'generate.mjs'), '--rows', String(rows), '--url', url];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`generating rows failed: ${stderr.trim()}`);
  return stdout;
}
