// The tour of the quickstart: a first night with dbops on the example, as an operator would live it.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { exampleConfig, generateExampleRows, loadExampleSchema } from './ai-factory.mjs';
import { findSystemBinaries } from './postgres-binaries.mjs';
import { heading, paint, runDbops, say, showDbops } from './show.mjs';
import { startWriter } from './writer.mjs';

const ROWS = 20_000;
const BUSY_TABLE = 'public.judgment_executions';

/**
 * @param {{ url: string, version: string, dir: string, binDir: string }} server empty; stays filled. Its directory takes the store
 */
export async function tour({ url, version, dir, binDir }) {
  // The server may not be on the PATH, and its programs are those that backups need.
  const PATH = `${binDir}${path.delimiter}${process.env['PATH'] ?? ''}`;
  const env = { DATABASE_URL: url, DBOPS_CONFIG: configWithStore(dir), PATH };
  heading('The example');
  await loadExampleSchema(url);
  generateExampleRows(url, ROWS);
  say(
    `PostgreSQL ${version} with examples/ai-factory: 15 partitioned tables, ${ROWS.toLocaleString('en')} rows.`,
  );
  say('Every command below is one that you could type, after');
  say(`\n${paint('cyan', `$ export DATABASE_URL=${url}`)}`);
  say(paint('cyan', `$ export DBOPS_CONFIG=${env.DBOPS_CONFIG}`));
  say(paint('cyan', "$ alias dbops='node bin/dbops.js'"));
  say(
    '\nThat file is examples/ai-factory/dbops.yaml with a store for archives, a directory beside the server.',
  );

  heading('1. What is there');
  await showDbops('partition list', { env });
  const before = await readState(env);

  heading('2. What will be done tonight: partitions to create, and partitions past their retention');
  await showDbops('partition plan', { env });

  heading('3. What that is in SQL: the plan that is shown is the plan that is run');
  await showDbops('partition ensure --dry-run', { env, lines: 24 });

  heading(
    '4. Create the partitions, while a report reads the busiest table and the application writes to it',
  );
  await ensureUnderLoad(url, env);

  heading('5. Once more, as cron will every night: nothing to do');
  await showDbops('partition ensure', { env });
  await showDbops('partition check', { env, codes: [0, 6] });

  heading('6. Retire what is past its retention: out of the table, but not yet gone');
  await showDbops('partition detach --due', { env });
  await showDbops('partition list --detached', { env });

  const missing = missingPrograms();
  if (missing.length === 0) await coldAndBack(url, env);
  else say(`\nThe cold archive needs ${missing.join(' and ')} on this host and is left out.`);

  const programs = missingForBackups(binDir);
  if (programs.length === 0) await backupAndDrill(env);
  else say(`\nBackups need ${programs.join(', ')} beside the server, and are left out.`);

  heading('11. What was done, by which run');
  await showDbops('history', { env });

  heading('What changed');
  const after = await readState(env);
  say(`partitions      ${before.partitions} before, ${after.partitions} now`);
  say(`created         ${after.partitions - before.partitions + after.detached}`);
  say(`detached        ${after.detached}, in quarantine: "dbops partition attach" brings them back`);
  say(`first inserts   would have failed after ${before.until}; now after ${after.until}`);
}

/**
 * A dump, restored where nobody works and compared with what it was made of.
 * @param {Record<string, string>} env
 */
async function backupAndDrill(env) {
  heading(
    '10. A dump of the database, and a drill: restored on a server of its own, and compared row by row',
  );
  await showDbops('backup create --kind logical', { env });
  await showDbops('backup drill --kind logical', { env });
  await showDbops('backup list', { env });
}

/**
 * What backups and drills need on this host, as dbops looks for it: beside the server, and zstd on the PATH.
 * @param {string} binDir
 */
function missingForBackups(binDir) {
  const names = ['psql', 'pg_dump', 'pg_dumpall', 'pg_restore'];
  const missing = names.filter((name) => !fs.existsSync(path.join(binDir, name)));
  const hasZstd = spawnSync('zstd', ['--version'], { stdio: 'ignore' }).status === 0;
  return [...missing, ...(hasZstd ? [] : ['zstd'])];
}

const COLD = 'public.raw_mes_production';

/**
 * An old month leaves the database, is queried where it lies, comes back, and is equal.
 * @param {string} url
 * @param {Record<string, string>} env
 */
async function coldAndBack(url, env) {
  heading('7. An old month goes cold: copied to the store, read back, proven, and only then detached');
  await showDbops(`archive run ${COLD} --max 1`, { env });
  const { archives } = await readJson(`archive list ${COLD} --json`, env);
  const [{ id, partition: leaf }] = archives;
  const partition = `${leaf.schema}.${leaf.name}`;
  await showDbops(`archive verify ${id}`, { env });

  heading('8. It is queried where it lies, by its bounds');
  const month = partition.slice(-7).replace('y', '').replace('m', '-');
  await showDbops(
    `archive query "select line_code, count(*) as events, sum(quantity_bad) as bad from ${COLD} where event_time < '${month}-16' group by line_code order by bad desc limit 5"`,
    { env },
  );

  heading('9. It comes back, and is equal');
  await showDbops(`archive restore ${id} --into cold.again --verify digest --yes`, { env });
  const client = new pg.Client({ connectionString: url, application_name: 'compare' });
  await client.connect();
  try {
    const digest = async (/** @type {string} */ table) => {
      const { rows } = await client.query(
        `select count(*)::int as rows, md5(string_agg(t::text, e'\\n' order by t::text)) as md5 from ${table} as t`,
      );
      return rows[0];
    };
    const [before, after] = [await digest(partition), await digest('cold.again')];
    if (before.md5 !== after.md5) throw new Error(`${partition} and its restored copy differ`);
    say(
      paint(
        'green',
        `${partition} and cold.again have the same ${after.rows} rows: ${after.md5}, by PostgreSQL itself.`,
      ),
    );
  } finally {
    await client.end();
  }
}

/**
 * The example's configuration with a store in a directory.
 * @param {string} dir
 */
function configWithStore(dir) {
  const store = path.join(dir, 'store');
  const work = path.join(dir, 'work');
  const drill = path.join(dir, 'drill');
  for (const folder of [store, work, drill]) fs.mkdirSync(folder, { recursive: true });
  const file = path.join(dir, 'dbops.yaml');
  const places = [
    `stores:\n  local: { url: "file://${store}" }`,
    `archive: { workDirectory: "${work}" }`,
    // A drill refuses a directory in which there are data directories of others.
    `backup: { workDirectory: "${work}", drill: { directory: "${drill}" } }`,
  ];
  // The example says how long backups are kept, and a key may stand once.
  const example = fs.readFileSync(exampleConfig, 'utf8').replace(/^backup:\n(?:(?: .*)?\n)*/m, '');
  fs.writeFileSync(file, `${places.join('\n')}\n\n${example}`);
  return file;
}

/** What archives need on this host. */
function missingPrograms() {
  const hasZstd = spawnSync('zstd', ['--version'], { stdio: 'ignore' }).status === 0;
  return [...(findSystemBinaries()?.clients ? [] : ['psql']), ...(hasZstd ? [] : ['zstd'])];
}

/**
 * The moment that statements such as `create table ... partition of` make an outage of.
 * @param {string} url
 * @param {Record<string, string>} env
 */
async function ensureUnderLoad(url, env) {
  const reader = new pg.Client({ connectionString: url, application_name: 'report' });
  await reader.connect();
  try {
    const { rows } = await reader.query('select id, tenant_id from public.workflows limit 1');
    const writer = await startWriter(url, {
      text: `insert into ${BUSY_TABLE} (tenant_id, workflow_id, trace_id, method, result, duration_ms)
        values ($1, $2, 'quickstart', 'rule_only', 'pass', 1)`,
      values: () => [rows[0].tenant_id, rows[0].id],
      perSecond: 200,
    });
    await reader.query('begin');
    await reader.query(`select count(*) from ${BUSY_TABLE}`);
    await showDbops('partition ensure', { env, lines: 9 });
    const writes = await writer.stop();
    await reader.query('commit');
    if (writes.failures.length > 0) throw new Error(`a write failed meanwhile: ${writes.failures[0]}`);
    say(
      paint(
        'green',
        `Meanwhile: ${writes.count} writes to ${BUSY_TABLE}, none failed, the longest took ${writes.longestMs().toFixed(0)} ms.`,
      ),
    );
    say('"create table ... partition of" would have made every one of them wait for the report to end.');
  } finally {
    await reader.end();
  }
}

/**
 * @param {Record<string, string>} env
 * @returns {Promise<{ partitions: number, until: string, detached: number }>}
 */
async function readState(env) {
  const sets = await readJson('partition list --json', env);
  const detached = await readJson('partition list --detached --json', env);
  const until = sets.map((/** @type {{ until: string }} */ set) => set.until.slice(0, 10)).sort()[0];
  const partitions = sets.reduce(
    (/** @type {number} */ sum, /** @type {{ partitions: number }} */ set) => sum + set.partitions,
    0,
  );
  return { partitions, until, detached: detached.length };
}

/**
 * @param {string} line
 * @param {Record<string, string>} env
 */
async function readJson(line, env) {
  const { code, stdout, stderr } = await runDbops(line.split(' '), env);
  if (code !== 0) throw new Error(`dbops ${line} ended with exit code ${code}\n${stderr}`);
  return JSON.parse(stdout).data;
}
