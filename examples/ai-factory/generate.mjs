// Fills the tables of schema.sql with made-up rows. The rows are made inside the server, so that the network
// and this process do not matter; every value follows from the seed, the row's number and the partitions.
import { parseArgs } from 'node:util';
import pg from 'pg';

/**
 * @typedef {object} TableSpec
 * @property {string} name
 * @property {string} key column the table is partitioned by
 * @property {'instant' | 'hour' | 'day'} precision how finely the key is filled
 * @property {number} share parts of all rows that go to this table
 * @property {Record<string, string>} columns SQL expression of each other column
 */

/** Rows of all partitioned tables together. */
const SIZES = { small: 20_000, medium: 500_000, large: 5_000_000 };

const USAGE = `usage: node generate.mjs [--size small|medium|large | --rows <n>] [--url <url>] [--seed <text>]

  --size   rows of all partitioned tables together: small 20000 (default), medium 500000, large 5000000
  --rows   any other number of rows
  --url    database to fill; the environment's DATABASE_URL if left out
  --seed   same seed, same rows (default "ai-factory"); another seed adds other rows
`;

const TENANTS = 5;
const WORKFLOWS_PER_TENANT = 8;

/**
 * What the expressions below may use: n is the row's number from 1, at its key, h 64 hex digits that look
 * random, u1 to u4 numbers from 0 up to 1. An expression picks from a list by one of these.
 * @param {string} number
 * @param {string[]} choices
 */
function pick(number, choices) {
  const list = choices.map((choice) => `'${choice}'`).join(', ');
  return `(array[${list}])[1 + floor(${number} * ${choices.length})::integer]`;
}

/**
 * @param {string} prefix
 * @param {string} number
 * @param {number} count
 */
function code(prefix, number, count) {
  return `'${prefix}' || lpad((1 + floor(${number} * ${count}))::text, 3, '0')`;
}

const tenantId = `substr(encode(sha256(convert_to($2 || ':tenant:' || tenant_no, 'UTF8')), 'hex'), 1, 32)::uuid`;
const workflowId = `substr(encode(sha256(convert_to($2 || ':workflow:' || tenant_no || ':' || workflow_no, 'UTF8')), 'hex'), 1, 32)::uuid`;
const rowId = 'substr(h, 1, 32)::uuid';
const traceId = 'substr(h, 5, 32)';
const line = code('LINE-', 'u1', 12);
const product = code('PRD-', 'u2', 40);
const equipment = code('EQ-', 'u2', 60);
const good = 'floor(200 + 800 * u3)::integer';
const bad = 'floor(30 * u4 * u4)::integer';
const arrived = "at + u4 * interval '90 seconds'";

/** @type {TableSpec[]} */
const TABLES = [
  {
    name: 'judgment_executions',
    key: 'created_at',
    precision: 'instant',
    share: 15,
    columns: {
      id: rowId,
      tenant_id: tenantId,
      workflow_id: workflowId,
      trace_id: traceId,
      method: pick('u3', ['rule_only', 'rule_only', 'llm_only', 'hybrid_weighted', 'hybrid_weighted']),
      result: pick('u4', ['pass', 'pass', 'pass', 'pass', 'pass', 'pass', 'fail', 'fail', 'review', 'error']),
      confidence: 'round((0.5 + u3 / 2)::numeric, 4)',
      input_data: `jsonb_build_object('line', ${line}, 'product', ${product}, 'temperature', round((180 + 60 * u3)::numeric, 1), 'pressure', round((2 + 3 * u4)::numeric, 2), 'lot', 'LOT-' || n / 50)`,
      evidence: `jsonb_build_object('rules', jsonb_build_array('R-' || floor(u1 * 90)::integer, 'R-' || floor(u2 * 90)::integer), 'text', repeat(substr(h, 1, 16) || ' ', 1 + floor(u4 * 20)::integer))`,
      cache_key: 'substr(h, 20, 24)',
      cache_hit: 'u2 < 0.3',
      duration_ms: 'floor(40 + 2400 * u3 * u3 * u3)::integer',
    },
  },
  {
    name: 'workflow_instances',
    key: 'started_at',
    precision: 'instant',
    share: 6,
    columns: {
      id: rowId,
      tenant_id: tenantId,
      workflow_id: workflowId,
      trace_id: traceId,
      status: pick('u3', [
        'completed',
        'completed',
        'completed',
        'completed',
        'failed',
        'cancelled',
        'waiting',
      ]),
      context: `jsonb_build_object('trigger', ${pick('u4', ['schedule', 'event', 'user'])}, 'line', ${line})`,
      ended_at: "case when u3 < 6 / 7.0 then at + u4 * interval '20 minutes' end",
    },
  },
  {
    name: 'workflow_execution_logs',
    key: 'started_at',
    precision: 'instant',
    share: 10,
    columns: {
      id: rowId,
      tenant_id: tenantId,
      instance_id: 'substr(h, 9, 32)::uuid',
      node_id: code('node-', 'u1', 15),
      attempt: 'case when u3 < 0.95 then 1 else 2 end',
      status: pick('u3', ['ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'skipped', 'failed']),
      message: "case when u3 >= 0.9 then 'node did not answer: ' || substr(h, 1, 12) end",
      duration_ms: 'floor(5 + 900 * u4 * u4)::integer',
    },
  },
  {
    name: 'llm_calls',
    key: 'created_at',
    precision: 'instant',
    share: 15,
    columns: {
      id: rowId,
      tenant_id: tenantId,
      trace_id: traceId,
      model: pick('u1', ['small-1', 'small-1', 'medium-2', 'large-2']),
      purpose: pick('u2', ['judgment', 'intent', 'summary', 'embedding']),
      prompt_tokens: 'floor(200 + 4000 * u3)::integer',
      completion_tokens: 'floor(20 + 800 * u4)::integer',
      cost_usd: 'round((0.0002 + 0.02 * u3 * u4)::numeric, 6)',
      latency_ms: 'floor(150 + 6000 * u4 * u4)::integer',
      status: "case when u4 > 0.99 then 'timeout' when u4 > 0.98 then 'error' else 'ok' end",
    },
  },
  {
    name: 'mcp_call_logs',
    key: 'created_at',
    precision: 'instant',
    share: 6,
    columns: {
      id: rowId,
      tenant_id: tenantId,
      trace_id: traceId,
      server_name: pick('u1', ['mes', 'erp', 'documents']),
      tool_name: pick('u2', ['search', 'read', 'list', 'execute']),
      arguments: `jsonb_build_object('query', substr(h, 1, 20), 'limit', floor(u3 * 100)::integer)`,
      is_error: 'u4 > 0.97',
      duration_ms: 'floor(10 + 1500 * u3 * u3)::integer',
    },
  },
  {
    name: 'audit_logs',
    key: 'created_at',
    precision: 'instant',
    share: 6,
    columns: {
      id: rowId,
      tenant_id: tenantId,
      actor_id: 'substr(h, 11, 32)::uuid',
      action: pick('u1', ['login', 'create', 'update', 'delete', 'export']),
      resource_type: pick('u2', ['workflow', 'ruleset', 'user', 'document']),
      resource_id: 'substr(h, 13, 32)::uuid',
      ip_address: `('10.' || floor(u3 * 256) || '.' || floor(u4 * 256) || '.' || n % 256)::inet`,
      user_agent: `'Mozilla/5.0 (' || ${pick('u4', ['X11; Linux x86_64', 'Windows NT 10.0', 'Macintosh'])} || ')'`,
      detail: `jsonb_build_object('before', substr(h, 1, 8), 'after', substr(h, 9, 8))`,
    },
  },
  {
    name: 'raw_mes_production',
    key: 'event_time',
    precision: 'instant',
    share: 18,
    columns: {
      tenant_id: tenantId,
      line_code: line,
      equipment_code: equipment,
      product_code: product,
      lot_no: "'LOT-' || n / 50",
      quantity_good: good,
      quantity_bad: bad,
      payload: `jsonb_build_object('operator', ${code('OP-', 'u4', 80)}, 'cycle_ms', floor(800 + 900 * u3), 'station', floor(u4 * 9), 'checksum', substr(h, 1, 40))`,
      ingested_at: arrived,
    },
  },
  {
    name: 'raw_erp_order',
    key: 'event_time',
    precision: 'instant',
    share: 4,
    columns: {
      tenant_id: tenantId,
      order_no: "'SO-' || lpad((n / 3)::text, 8, '0')",
      product_code: product,
      quantity: 'round((10 + 5000 * u3)::numeric, 3)',
      due_date: "(at + (5 + 40 * u4) * interval '1 day')::date",
      status: pick('u4', ['created', 'released', 'confirmed', 'closed']),
      payload: `jsonb_build_object('plant', ${code('P-', 'u1', 4)}, 'customer', ${code('C-', 'u3', 300)}, 'note', substr(h, 1, 30))`,
      ingested_at: arrived,
    },
  },
  {
    name: 'raw_inventory',
    key: 'event_time',
    precision: 'instant',
    share: 4,
    columns: {
      tenant_id: tenantId,
      warehouse_code: code('WH-', 'u1', 6),
      material_code: code('MAT-', 'u2', 200),
      movement: pick('u3', ['in', 'out', 'out', 'adjust']),
      quantity: 'round((1 + 900 * u4)::numeric, 3)',
      payload: `jsonb_build_object('document', substr(h, 1, 12), 'bin', substr(h, 13, 4))`,
      ingested_at: arrived,
    },
  },
  {
    name: 'raw_equipment_event',
    key: 'event_time',
    precision: 'instant',
    share: 6,
    columns: {
      tenant_id: tenantId,
      equipment_code: equipment,
      event_type: pick('u3', ['start', 'stop', 'alarm', 'state', 'state']),
      severity: 'floor(u4 * 5)::smallint',
      sensor_values: 'array[20 + 60 * u1, 1 + 9 * u3, u4]::double precision[]',
      payload: `jsonb_build_object('code', 'E' || floor(u2 * 500), 'raw', substr(h, 1, 32))`,
      ingested_at: arrived,
    },
  },
  {
    name: 'fact_daily_production',
    key: 'date',
    precision: 'day',
    share: 3,
    columns: {
      tenant_id: tenantId,
      line_code: line,
      product_code: product,
      shift: '1 + n % 3',
      quantity_good: good,
      quantity_bad: bad,
      runtime_minutes: 'floor(300 + 180 * u4)::integer',
    },
  },
  {
    name: 'fact_daily_defect',
    key: 'date',
    precision: 'day',
    share: 2,
    columns: {
      tenant_id: tenantId,
      line_code: line,
      product_code: product,
      defect_type: pick('u3', ['scratch', 'dent', 'size', 'colour', 'weld']),
      quantity: 'floor(1 + 25 * u4 * u4)::integer',
    },
  },
  {
    name: 'fact_inventory_snapshot',
    key: 'date',
    precision: 'day',
    share: 2,
    columns: {
      tenant_id: tenantId,
      warehouse_code: code('WH-', 'u1', 6),
      material_code: code('MAT-', 'u2', 200),
      quantity_on_hand: 'round((5000 * u3)::numeric, 3)',
      quantity_reserved: 'round((5000 * u3 * u4)::numeric, 3)',
    },
  },
  {
    name: 'fact_equipment_event',
    key: 'date',
    precision: 'day',
    share: 2,
    columns: {
      tenant_id: tenantId,
      equipment_code: equipment,
      event_type: pick('u3', ['stop', 'alarm', 'maintenance']),
      event_count: 'floor(1 + 20 * u4)::integer',
      downtime_minutes: 'floor(120 * u4 * u4)::integer',
    },
  },
  {
    name: 'fact_hourly_production',
    key: 'hour_timestamp',
    precision: 'hour',
    share: 1,
    columns: {
      tenant_id: tenantId,
      line_code: line,
      product_code: product,
      quantity_good: good,
      quantity_bad: bad,
    },
  },
];

/**
 * Tables that are not partitioned. Their rows come on top of the others', over the months that llm_calls has.
 * @type {TableSpec[]}
 */
const PLAIN_TABLES = [
  {
    name: 'event_outbox',
    key: 'created_at',
    precision: 'instant',
    share: 8,
    columns: {
      tenant_id: tenantId,
      topic: pick('u1', ['judgment.made', 'workflow.ended', 'document.changed']),
      payload: `jsonb_build_object('trace', ${traceId}, 'n', n)`,
      status: "case when u4 > 0.9 then 'FAILED' when u4 > 0.89 then 'PENDING' else 'PUBLISHED' end",
      published_at: "case when u4 <= 0.89 then at + u3 * interval '2 minutes' end",
    },
  },
  {
    name: 'watch_alerts',
    key: 'created_at',
    precision: 'instant',
    share: 2,
    columns: {
      id: rowId,
      tenant_id: tenantId,
      severity: pick('u1', ['info', 'info', 'warning', 'critical']),
      status: "case when u4 > 0.8 then 'open' else 'acknowledged' end",
      message: `'limit passed on ' || ${line}`,
      acknowledged_at: "case when u4 <= 0.8 then at + u3 * interval '8 hours' end",
    },
  },
  {
    name: 'llm_call_logs',
    key: 'created_at',
    precision: 'instant',
    share: 8,
    columns: {
      tenant_id: tenantId,
      model: pick('u1', ['small-1', 'small-1', 'medium-2', 'large-2']),
      prompt:
        "'Why did lot ' || n || ' fail? ' || repeat(substr(h, 1, 20) || ' ', 1 + floor(u3 * 10)::integer)",
      response: "repeat(substr(h, 21, 30) || ' ', 1 + floor(u4 * 20)::integer)",
    },
  },
];

const UNIQUE_VIOLATION = '23505';
const UNDEFINED_TABLE = '42P01';

/** A mistake of the caller, told without a stack. */
class UsageError extends Error {}

/**
 * @param {string[]} argv
 * @param {string | undefined} environmentUrl
 */
function parseArguments(argv, environmentUrl) {
  const { values } = parseArgs({
    args: argv,
    options: {
      size: { type: 'string' },
      rows: { type: 'string' },
      url: { type: 'string' },
      seed: { type: 'string', default: 'ai-factory' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  if (values.size !== undefined && values.rows !== undefined) {
    throw new UsageError('--size and --rows exclude each other');
  }
  const url = values.url ?? environmentUrl;
  if (!url) throw new UsageError('no database: give --url or set DATABASE_URL');
  const rows = values.rows === undefined ? rowsOfSize(values.size ?? 'small') : Number(values.rows);
  if (!Number.isSafeInteger(rows) || rows < 1) throw new UsageError('--rows must be a whole number above 0');
  return { rows, url, seed: values.seed };
}

/** @param {string} size */
function rowsOfSize(size) {
  if (size !== 'small' && size !== 'medium' && size !== 'large') {
    throw new UsageError(`unknown size "${size}": small, medium or large`);
  }
  return SIZES[size];
}

/**
 * Shares the rows of partitioned tables out so that the parts add up to the whole; plain ones come on top.
 * @param {number} total
 */
function rowsPerTable(total) {
  const allShares = TABLES.reduce((sum, table) => sum + table.share, 0);
  let sharesBefore = 0;
  const partitioned = TABLES.map((table) => {
    const from = Math.round((total * sharesBefore) / allShares);
    sharesBefore += table.share;
    return { table, rows: Math.round((total * sharesBefore) / allShares) - from, boundsOf: table.name };
  });
  const plain = PLAIN_TABLES.map((table) => ({
    table,
    rows: Math.ceil((total * table.share) / allShares),
    boundsOf: 'llm_calls',
  }));
  return [...partitioned, ...plain];
}

/**
 * Tenants and workflows that decisions and runs refer to.
 * @param {pg.Client} client
 * @param {string} seed
 */
async function insertParents(client, seed) {
  await client.query(
    `insert into public.tenants (id, name, display_name, created_at)
    select ${tenantId}, 'tenant-' || $2::text || '-' || tenant_no, 'Plant ' || tenant_no, '2020-01-01'
    from generate_series(1, $1::integer) as tenant_no
    on conflict (id) do nothing`,
    [TENANTS, seed],
  );
  await client.query(
    `insert into public.workflows (id, tenant_id, name, dsl, dsl_digest, is_active, created_at)
    select ${workflowId}, ${tenantId}, 'workflow-' || workflow_no,
      jsonb_build_object('steps', workflow_no), md5(workflow_no::text), workflow_no % 5 > 0, '2020-01-01'
    from generate_series(1, $1::integer) as tenant_no,
      generate_series(1, $3::integer) as workflow_no
    on conflict (id) do nothing`,
    [TENANTS, seed, WORKFLOWS_PER_TENANT],
  );
}

/**
 * Bounds of the partitions that a table has, oldest first; a default partition and open ends are left out.
 * @param {pg.Client} client
 * @param {string} table
 * @returns {Promise<{ lower: string[], upper: string[] }>}
 */
async function listBounds(client, table) {
  const { rows } = await client.query(
    `select lower_bound, upper_bound
    from (
      select substring(bound from 'FROM \\(''([^'']+)''\\)') as lower_bound,
        substring(bound from 'TO \\(''([^'']+)''\\)') as upper_bound
      from pg_catalog.pg_inherits i
        join pg_catalog.pg_class c on c.oid = i.inhrelid
        cross join lateral pg_catalog.pg_get_expr(c.relpartbound, c.oid) as bound
      where i.inhparent = $1::regclass and not i.inhdetachpending
    ) as bounds
    where lower_bound is not null and upper_bound is not null
    order by lower_bound::timestamptz`,
    [`public.${table}`],
  );
  return { lower: rows.map((row) => row.lower_bound), upper: rows.map((row) => row.upper_bound) };
}

/**
 * Every partition gets the same number of rows, in the order of time, as an application would have written
 * them. `place` runs from 0 up to the number of partitions: its whole part names the partition, its
 * fraction the point in it.
 * @param {TableSpec} table
 */
function insertStatement(table) {
  const type = table.precision === 'day' ? 'date' : 'timestamptz';
  const point = {
    day: 'lower_bound + floor((upper_bound - lower_bound) * fraction)::integer',
    hour: "date_trunc('hour', lower_bound + (upper_bound - lower_bound) * fraction)",
    instant: "date_trunc('milliseconds', lower_bound + (upper_bound - lower_bound) * fraction)",
  }[table.precision];
  const names = Object.keys(table.columns);
  // "offset 0" keeps the planner from pulling a subquery up and computing its values once for every use.
  return `
    insert into public.${table.name} (${[table.key, ...names].join(', ')})
    select at, ${Object.values(table.columns).join(',\n      ')}
    from (
      select n, h, u1, u2, u3, u4, ${point} as at,
        1 + floor(u1 * ${TENANTS})::integer as tenant_no,
        1 + floor(u2 * ${WORKFLOWS_PER_TENANT})::integer as workflow_no
      from (
        select *, ($3::${type}[])[1 + floor(place)::integer] as lower_bound,
          ($4::${type}[])[1 + floor(place)::integer] as upper_bound,
          least(place - floor(place), 0.999999) as fraction
        from (
          select *, least((n - 1 + u1) * cardinality($3::${type}[]) / $1::bigint,
            cardinality($3::${type}[]) - 0.000001)::double precision as place
          from (
            select n, h,
              ('x' || substr(h, 33, 8))::bit(32)::bigint / 4294967296.0::double precision as u1,
              ('x' || substr(h, 41, 8))::bit(32)::bigint / 4294967296.0::double precision as u2,
              ('x' || substr(h, 49, 8))::bit(32)::bigint / 4294967296.0::double precision as u3,
              ('x' || substr(h, 57, 8))::bit(32)::bigint / 4294967296.0::double precision as u4
            from (
              select n, encode(sha256(convert_to($2::text || ':${table.name}:' || n, 'UTF8')), 'hex') as h
              from generate_series(1, $1::bigint) as n
              offset 0
            ) as hashes
            offset 0
          ) as numbers
          offset 0
        ) as places
        offset 0
      ) as periods
      offset 0
    ) as source`;
}

/**
 * @param {pg.Client} client
 * @param {{ rows: number, seed: string }} options
 */
async function generate(client, { rows, seed }) {
  const parts = rowsPerTable(rows);
  await client.query('begin');
  await client.query(`set local timezone to 'UTC'`);
  await client.query(`set local datestyle to 'ISO'`);
  await insertParents(client, seed);
  for (const part of parts) {
    const { lower, upper } = await listBounds(client, part.boundsOf);
    if (lower.length === 0) throw new UsageError(`public.${part.boundsOf} has no partitions`);
    const result = await client.query(insertStatement(part.table), [part.rows, seed, lower, upper]);
    console.log(`${part.table.name.padEnd(26)}${String(result.rowCount).padStart(10)}`);
  }
  await client.query('commit');
  // Row estimates come from statistics, and autovacuum never analyzes a partitioned parent.
  for (const { table } of parts) await client.query(`analyze public.${table.name}`);
  const all = parts.reduce((sum, part) => sum + part.rows, 0);
  console.log(`${'total'.padEnd(26)}${String(all).padStart(10)}`);
}

/**
 * What went wrong, in words, where the person at the keyboard can mend it.
 * @param {unknown} error
 */
function explain(error) {
  if (error instanceof UsageError) return error.message;
  if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')) {
    return error.message;
  }
  if (!(error instanceof pg.DatabaseError)) return undefined;
  if (error.code === UNIQUE_VIOLATION) {
    return 'rows of this seed are there already, nothing was inserted: give another --seed';
  }
  if (error.code === UNDEFINED_TABLE) return `${error.message}: load schema.sql first`;
  return undefined;
}

async function main() {
  const options = parseArguments(process.argv.slice(2), process.env['DATABASE_URL']);
  if (!options) {
    console.log(USAGE.trimEnd());
    return;
  }
  const client = new pg.Client({ connectionString: options.url, application_name: 'ai-factory generate' });
  await client.connect();
  try {
    await generate(client, options);
  } finally {
    await client.end();
  }
}

try {
  await main();
} catch (error) {
  const message = explain(error);
  if (message === undefined) throw error;
  console.error(message);
  process.exitCode = 2;
}
