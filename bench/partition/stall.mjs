import { exampleConfig } from '../../scripts/lib/ai-factory.mjs';
import { withClient } from '../lib/database.mjs';
import { runDbops } from '../lib/dbops.mjs';
import { milliseconds } from '../lib/report.mjs';
import { longestStall } from '../lib/stall.mjs';

const TABLE = 'public.judgment_executions';
const READER_SECONDS = 20;
const TARGET_MS = 250;

/**
 * A writer goes on inserting into a parent while a partition is added to it and somebody reads it for long: with
 * dbops, and with the statement that most people use.
 */
export const stall = {
  name: 'stall',
  /** @param {import('./index.mjs').Bench} bench */
  async run({ example }) {
    const url = await example('stall_dbops');
    const withDbops = await longestStall(url, {
      ...(await around(url)),
      work: () => runDbops(['partition', 'ensure', TABLE], { url, config: exampleConfig }),
    });
    const seedsUrl = await example('stall_partition_of');
    const withPartitionOf = await longestStall(seedsUrl, {
      ...(await around(seedsUrl)),
      work: () => createPartitionOf(seedsUrl),
    });
    const what = `longest stall of a writer, another session holding a ${READER_SECONDS} s SELECT on the parent`;
    return [
      {
        what: `${what}: dbops partition ensure`,
        target: `under ${TARGET_MS} ms`,
        measured: `${milliseconds(withDbops.stallMs)} (${milliseconds(withDbops.quietMs)} before), ${withDbops.writes} writes, done in ${milliseconds(withDbops.workMs)}`,
        ratio: (withDbops.stallMs / withPartitionOf.stallMs).toFixed(3),
        met: withDbops.stallMs < TARGET_MS,
      },
      {
        what: `${what}: create table ... partition of`,
        target: '-',
        measured: `${milliseconds(withPartitionOf.stallMs)} (${milliseconds(withPartitionOf.quietMs)} before), ${withPartitionOf.writes} writes, done in ${milliseconds(withPartitionOf.workMs)}`,
        ratio: '1',
      },
    ];
  },
};

/** @param {string} url */
async function around(url) {
  return { write: await insertInto(url), table: TABLE, readerSeconds: READER_SECONDS };
}

/**
 * The insert of an application that belongs to a tenant and a workflow, so that its foreign keys are checked.
 * @param {string} url
 */
async function insertInto(url) {
  const owner = await withClient(url, async (client) => {
    const { rows } = await client.query(
      'select id as workflow, tenant_id as tenant from public.workflows limit 1',
    );
    return rows[0];
  });
  return {
    text: `insert into ${TABLE} (tenant_id, workflow_id, trace_id, method, result, duration_ms)
      values ($1, $2, 'bench', 'rule_only', 'pass', 1)`,
    values: () => [owner.tenant, owner.workflow],
  };
}

/**
 * The next month, as the operations manual of the example creates it.
 * @param {string} url
 */
async function createPartitionOf(url) {
  await withClient(url, async (client) => {
    const { rows } = await client.query(
      `select to_char(month, '"judgment_executions_y"YYYY"m"MM') as name, month::text as from, (month + interval '1 month')::text as to
         from (select date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' + interval '1 month' as month) as next`,
    );
    const { name, from, to } = rows[0];
    await client.query(
      `create table public.${name} partition of ${TABLE} for values from ('${from}') to ('${to}')`,
    );
  });
}
