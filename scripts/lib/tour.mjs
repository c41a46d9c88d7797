// The tour of the quickstart: a first night with dbops on the example, as an operator would live it.
import pg from 'pg';
import { exampleConfig, generateExampleRows, loadExampleSchema } from './ai-factory.mjs';
import { heading, paint, runDbops, say, showDbops } from './show.mjs';
import { startWriter } from './writer.mjs';

const ROWS = 20_000;
const BUSY_TABLE = 'public.judgment_executions';

/**
 * @param {{ url: string, version: string }} server empty; stays filled
 */
export async function tour({ url, version }) {
  const env = { DATABASE_URL: url, DBOPS_CONFIG: exampleConfig };
  heading('The example');
  await loadExampleSchema(url);
  generateExampleRows(url, ROWS);
  say(
    `PostgreSQL ${version} with examples/ai-factory: 15 partitioned tables, ${ROWS.toLocaleString('en')} rows.`,
  );
  say('Every command below is one that you could type, after');
  say(`\n${paint('cyan', `$ export DATABASE_URL=${url}`)}`);
  say(paint('cyan', '$ export DBOPS_CONFIG=examples/ai-factory/dbops.yaml'));
  say(paint('cyan', "$ alias dbops='node bin/dbops.js'"));

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

  heading('7. What was done, by which run');
  await showDbops('history', { env });

  heading('What changed');
  const after = await readState(env);
  say(`partitions      ${before.partitions} before, ${after.partitions} now`);
  say(`created         ${after.partitions - before.partitions + after.detached}`);
  say(`detached        ${after.detached}, in quarantine: "dbops partition attach" brings them back`);
  say(`first inserts   would have failed after ${before.until}; now after ${after.until}`);
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
