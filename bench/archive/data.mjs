// A partitioned table whose May is about 1 GB of heap: 4 million rows with a jsonb of 150 bytes.
import fs from 'node:fs';
import path from 'node:path';
import { withClient } from '../lib/database.mjs';
import { dbopsProgram, runDbops } from '../lib/dbops.mjs';

export const ROWS = 4_000_000;
export const PARTITION = 'public.events_y2026m05';

/**
 * @param {string} url
 * @param {{ rows?: number }} [options]
 */
export async function createEvents(url, { rows = ROWS } = {}) {
  await withClient(url, async (client) => {
    await client.query(`create table public.events (
      id bigint not null, at timestamptz not null, machine int not null, value numeric(12,2), payload jsonb, note text,
      primary key (id, at)) partition by range (at)`);
    await createMonth(client, 5, rows);
    await createMonth(client, 11, 1);
  });
}

/**
 * @param {import('pg').Client} client
 * @param {number} month of 2026
 * @param {number} rows spread evenly over it
 */
export async function createMonth(client, month, rows) {
  const [from, to] = [month, month + 1].map((number) =>
    new Date(Date.UTC(2026, number - 1, 1)).toISOString(),
  );
  const name = `public.events_y2026m${String(month).padStart(2, '0')}`;
  await client.query(
    `create table ${name} partition of public.events for values from ('${from}') to ('${to}')`,
  );
  await client.query(`insert into ${name}
    select i, '${from}'::timestamptz + (i / ${rows + 1}::float8) * ('${to}'::timestamptz - '${from}'::timestamptz), i % 97,
           (random() * 1e6)::numeric(12,2),
           jsonb_build_object('machine', i % 97, 'serial', md5(i::text), 'value', random(), 'tags', array['a', 'b'],
                              'note', repeat('x', 30)),
           md5((i * 7)::text)
      from generate_series(1, ${rows}) as i`);
  await client.query(`vacuum (analyze) ${name}`);
}

/**
 * A configuration with one store.
 * @param {string} dir
 * @param {string} name
 * @param {{ store?: string, archive?: string, table?: string }} [options] lines of YAML
 */
export function writeArchiveConfig(dir, name, { store, archive = '' } = {}) {
  const folder = path.join(dir, `store-${name}`);
  fs.mkdirSync(folder, { recursive: true });
  const file = path.join(dir, `${name}.yaml`);
  fs.writeFileSync(
    file,
    `stores:
  bench:
${store ?? `    url: file://${folder}`}
archive: { ${archive} }
partitions:
  - { table: public.events, key: at, interval: month, retention: { hot: 1 month, cold: 5 years } }
`,
  );
  return { config: file, folder };
}

/**
 * `archive run` up to the verified state, of one partition.
 * @param {string} url
 * @param {string} config
 * @param {string[]} [more]
 */
export function archiveProgram(url, config, more = []) {
  const args = ['archive', 'run', '--partition', PARTITION, '--until', 'verified', ...more];
  return dbopsProgram(args, { url, config });
}

/**
 * Lets the next run copy anew: otherwise it would take the archive that is there.
 * @param {string} url
 */
export async function forgetArchives(url) {
  await withClient(url, (client) => client.query("update dbops.archive set state = 'superseded'"));
}

/**
 * Archives what is named and returns its id.
 * @param {string} url
 * @param {string} config
 */
export async function archiveOnce(url, config) {
  const { stdout } = await runDbops(
    ['archive', 'run', '--partition', PARTITION, '--until', 'verified', '--json'],
    { url, config },
  );
  return /** @type {string} */ (JSON.parse(stdout).data.partitions[0].archive);
}
