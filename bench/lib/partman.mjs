// pg_partman 4.7, the peer that partitions are created against.
import { withClient } from './database.mjs';

/** @typedef {import('./measure.mjs').Program} Program */

/**
 * The version that the server could install, or null.
 * @param {string} serverUrl
 */
export async function availablePartman(serverUrl) {
  return withClient(serverUrl, async (client) => {
    const { rows } = await client.query(
      "select default_version as version from pg_available_extensions where name = 'pg_partman'",
    );
    const version = /** @type {string | undefined} */ (rows[0]?.version);
    // Version 5 has other functions; it is a peer of its own.
    return version?.startsWith('4.') ? version : null;
  });
}

/**
 * Hands empty parents to pg_partman, which makes the previous, the current and the next period of each. What is
 * missing after that up to `premake` periods ahead is left to be made.
 * @param {string} url
 * @param {{ table: string, key: string }[]} sets
 * @param {{ interval: 'daily' | 'monthly', premake: number }} wish
 */
export async function createPartmanSets(url, sets, { interval, premake }) {
  await withClient(url, async (client) => {
    await client.query("set timezone to 'UTC'");
    await client.query('create schema partman');
    await client.query('create extension pg_partman schema partman');
    for (const { table, key } of sets) {
      await client.query(
        "select partman.create_parent(p_parent_table => $1, p_control => $2, p_type => 'native', p_interval => $3, p_premake => 1, p_jobmon => false)",
        [`public.${table}`, key, interval],
      );
      // Both sides work without a default partition, which neither needs for this.
      await client.query(`drop table public.${table}_default`);
    }
    await client.query(
      'update partman.part_config set premake = $1, infinite_time_partitions = true, jobmon = false',
      [premake],
    );
  });
}

/**
 * @param {string} psql
 * @param {string} url
 * @param {'run_maintenance_proc' | 'run_maintenance'} [form]
 * @returns {Program}
 */
export function maintenanceProgram(psql, url, form = 'run_maintenance_proc') {
  const call = {
    run_maintenance_proc: 'call partman.run_maintenance_proc(p_analyze => false, p_jobmon => false)',
    run_maintenance: 'select partman.run_maintenance(p_analyze => false, p_jobmon => false)',
  }[form];
  return { command: psql, args: ['-X', '-v', 'ON_ERROR_STOP=1', '-c', call, url], env: { PGTZ: 'UTC' } };
}
