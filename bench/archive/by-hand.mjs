// What people type instead of dbops: psql, pg_dump, gzip and zstd in a shell. Nothing is verified.
import { withClient } from '../lib/database.mjs';
import { PARTITION } from './data.mjs';

/**
 * `pg_dump | gzip`, into a file or through a program that uploads its standard input.
 * @param {import('../partition/index.mjs').Bench} bench
 * @param {string} url
 * @param {string} target shell text after the pipe, such as "cat > file"
 */
export function dumpByHand({ binDir }, url, target) {
  return shell(`'${binDir}/pg_dump' -t ${PARTITION} '${url}' | gzip | ${target}`);
}

/**
 * Two `psql copy | zstd` by ranges of ctid, at once.
 * @param {import('../partition/index.mjs').Bench} bench
 * @param {string} url
 * @param {(half: number) => string} target
 */
export async function copyByHand({ psql }, url, target) {
  const blocks = await withClient(url, async (client) => {
    const { rows } = await client.query(
      "select (pg_relation_size($1::regclass) / current_setting('block_size')::int8)::int as blocks",
      [PARTITION],
    );
    return /** @type {number} */ (rows[0].blocks);
  });
  const middle = Math.floor(blocks / 2);
  const halves = [`< '(${middle},0)'`, `>= '(${middle},0)'`].map(
    (range, half) =>
      `('${psql}' -X '${url}' -c "copy (select * from only ${PARTITION} where ctid ${range}) to stdout" | zstd -q -3 -c | ${target(half)})`,
  );
  return shell(`${halves[0]} & one=$!; ${halves[1]}; wait $one`);
}

/** @param {string} text */
export function shell(text) {
  return { command: 'bash', args: ['-o', 'pipefail', '-c', text] };
}
