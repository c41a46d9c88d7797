// Databases of a run: loaded once as a template, cloned for every measurement.
import pg from 'pg';

/**
 * @param {string} url
 * @returns {Promise<pg.Client>}
 */
export async function open(url) {
  const client = new pg.Client({ connectionString: url, application_name: 'bench' });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/**
 * @template T
 * @param {string} url
 * @param {(client: pg.Client) => Promise<T>} work
 */
export async function withClient(url, work) {
  const client = await open(url);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/**
 * Creates a database and returns its url. Nobody may be connected to the template.
 * @param {string} serverUrl
 * @param {string} name
 * @param {string} [template]
 */
export async function createDatabase(serverUrl, name, template = 'template1') {
  await withClient(serverUrl, (client) =>
    client.query(`create database ${pg.escapeIdentifier(name)} template ${pg.escapeIdentifier(template)}`),
  );
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/**
 * @param {string} serverUrl
 * @param {string} name
 */
export async function dropDatabase(serverUrl, name) {
  await withClient(serverUrl, (client) =>
    client.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`),
  );
}

/**
 * How many partitions there are, of one table or of all.
 * @param {string} url
 * @param {string} [table]
 */
export async function countPartitions(url, table) {
  return withClient(url, async (client) => {
    const { rows } = await client.query(
      `select count(*)::int as number
         from pg_catalog.pg_inherits i
         join pg_catalog.pg_class c on c.oid = i.inhrelid and c.relispartition and c.relkind = 'r'
        where $1::text is null or i.inhparent = $1::text::regclass`,
      [table ?? null],
    );
    return /** @type {number} */ (rows[0].number);
  });
}

/**
 * Asks again and again until the statement returns a row, and returns that row.
 * @param {pg.Client} client
 * @param {string} statement
 * @param {unknown[]} values
 * @param {{ timeoutMs?: number, what: string }} options
 */
export async function waitForRow(client, statement, values, { timeoutMs = 30_000, what }) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const { rows } = await client.query(statement, values);
    if (rows.length > 0) return rows[0];
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
