import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runDbops, type CliResult } from '../../support/cli.ts';
import type { TestDatabase } from '../../support/database.ts';
import { createDatabase, openSession, startPrivateServer } from '../../support/database.ts';
import type { PruneReport } from '../../../src/partition/prune/check.ts';

const schemaSql = `
  create table judgment_executions (id bigint generated always as identity, tenant_id bigint, workflow_id bigint,
    created_at timestamptz not null) partition by range (created_at);
  create table judgment_executions_y2025m01 partition of judgment_executions for values from ('2025-01-01') to ('2025-02-01');
  create table judgment_executions_y2025m02 partition of judgment_executions for values from ('2025-02-01') to ('2025-03-01');
  create table judgment_executions_y2025m03 partition of judgment_executions for values from ('2025-03-01') to ('2025-04-01');
  create table other (id int, created_at timestamptz);
  insert into judgment_executions (tenant_id, workflow_id, created_at) values (1, 1, '2025-01-26');`;

function configured(): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-prune-'));
  fs.writeFileSync(
    path.join(dir, 'dbops.yaml'),
    'partitions:\n  - table: public.judgment_executions\n    key: created_at\n    interval: month\n',
  );
  return dir;
}

async function pruneCheck(url: string, flags: string[], input = ''): Promise<CliResult & PruneReport> {
  const result = await runDbops(['partition', 'prune-check', '--json', ...flags], {
    cwd: configured(),
    env: { DBOPS_URL: url },
    input,
  });
  const report = result.stdout === '' ? {} : (JSON.parse(result.stdout) as { data: PruneReport }).data;
  return { ...result, ...(report as PruneReport) };
}

let db: TestDatabase;
beforeEach(async () => {
  db = await createDatabase('prune');
  await db.query(schemaSql);
});
afterEach(() => db.drop());

const select = 'select * from judgment_executions where tenant_id = :tenant_id and';

describe('statements that leave partitions out', () => {
  it.each([
    [`${select} created_at >= '2025-01-01' and created_at < '2025-02-01'`, 'pruned'],
    [`${select} created_at >= current_date - interval '7 days'`, 'at run time'],
    [`${select} created_at >= $1 and created_at < $2`, 'at run time'],
    [`${select} created_at >= '2025-02-26'::timestamp at time zone 'Asia/Seoul'`, 'pruned'],
    [`update judgment_executions set workflow_id = 2 where created_at = '2025-01-26'`, 'pruned'],
    [`delete from public.judgment_executions where created_at = ?`, 'at run time'],
    [
      `with one as (select * from judgment_executions where created_at = :at) select count(*) from one`,
      'at run time',
    ],
  ])('%s', async (sql, status) => {
    const result = await pruneCheck(db.url, ['--sql', '-'], sql);
    expect(result.findings).toMatchObject([{ table: 'public.judgment_executions', status, partitions: 3 }]);
    expect(result.code).toBe(0);
  });
});

describe('statements that read every partition', () => {
  it.each([
    [
      `${select} DATE(created_at) = '2025-01-26'`,
      'the function date stands around the key',
      'created_at >= ',
    ],
    [
      'select * from judgment_executions where workflow_id = :workflow_id',
      'no condition on the key created_at',
      'add one',
    ],
    [`${select} created_at::date = '2025-01-26'`, 'cast to date', 'both ends'],
    [
      `${select} date_trunc('month', created_at) = :month`,
      'the function date_trunc',
      'compare the key itself',
    ],
    [
      `${select} created_at at time zone 'Asia/Seoul' >= '2025-02-26'`,
      'moved to a time zone',
      'the other side',
    ],
    [`${select} extract(year from created_at) = 2025`, 'created_at', 'compare the key itself'],
    [`${select} to_char(created_at, 'YYYY-MM') = :month`, 'the function to_char', 'compare the key itself'],
    [`${select} created_at::text like '2025-02%'`, 'cast to text', "the key's type"],
    [`${select} created_at + interval '1 day' > now()`, 'something is computed from the key', 'other side'],
    [`${select} (created_at = '2025-01-26' or workflow_id = 1)`, 'one arm of an OR', 'in parentheses'],
    [`${select} created_at > '2000-01-01'`, 'covers every partition', 'both sides'],
    ['delete from judgment_executions where id = 5', 'no condition on the key', 'add one'],
  ])('%s', async (sql, reason, advice) => {
    const result = await pruneCheck(db.url, ['--sql', '-'], sql);
    expect(result.stderr).toBe('');
    expect(result.findings).toMatchObject([{ status: 'all', read: 3, partitions: 3 }]);
    expect(result.findings[0]!.reason).toContain(reason);
    expect(result.findings[0]!.advice).toContain(advice);
    expect(result.code).toBe(6);
    expect(await db.query('select count(*)::int as rows from judgment_executions')).toEqual([{ rows: 1 }]);
  });
});

describe('a file', () => {
  it('is read statement by statement, nothing of it is executed, and what cannot be planned is unknown', async () => {
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-sql-')), 'queries.sql');
    fs.writeFileSync(
      file,
      [
        '-- a report; monthly',
        "select count(*) from judgment_executions where created_at >= '2025-03-01';",
        'drop table judgment_executions;',
        'select * from other;',
        'delete from judgment_executions;',
        'select * from not_there;',
      ].join('\n'),
    );
    const result = await pruneCheck(db.url, ['--sql', file]);
    expect(result.code).toBe(6);
    expect(result.findings.map((row) => [row.place, row.status])).toEqual([
      ['queries.sql:1', 'pruned'],
      ['queries.sql:5', 'all'],
      ['queries.sql:6', 'unknown'],
    ]);
    expect(result.skipped).toBe(2);
    expect(await db.query('select count(*)::int as rows from judgment_executions')).toEqual([{ rows: 1 }]);
    const shown = await runDbops(['partition', 'prune-check', '--sql', file], {
      cwd: configured(),
      env: { DBOPS_URL: db.url },
    });
    expect(shown.stdout).toContain('3 of 3');
    expect(shown.stdout).toContain('queries.sql:5: no condition on the key created_at');
  });

  it('that is not there is a mistake of usage', async () => {
    const result = await pruneCheck(db.url, ['--sql', 'missing.sql']);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('missing.sql');
  });
});

describe('pg_stat_statements', () => {
  it('is unknown where the extension is not there, with how to get it', async () => {
    const result = await pruneCheck(db.url, []);
    expect(result.code).toBe(6);
    expect(result.findings).toMatchObject([{ status: 'unknown' }]);
    expect(result.findings[0]!.advice).toContain('CREATE EXTENSION pg_stat_statements');
  });

  it('tells which of its statements read every partition', async () => {
    const server = await startPrivateServer({ shared_preload_libraries: 'pg_stat_statements' });
    try {
      const session = await openSession(server.url);
      await session.query('create extension pg_stat_statements');
      await session.query(schemaSql);
      await session.query("select count(*) from judgment_executions where date(created_at) = '2025-01-26'");
      await session.query(
        "select count(*) from judgment_executions where created_at >= now() - interval '7 days'",
      );
      await session.query('select count(*) from other');
      await session.end();
      const result = await pruneCheck(server.url, ['--top', '10']);
      expect(result.code).toBe(6);
      const seen = result.findings.map((row) => row.status).sort();
      expect(seen).toEqual(['all', 'at run time']);
      expect(result.findings.find((row) => row.status === 'all')!.statement).toContain(
        'date(created_at) = $1',
      );
    } finally {
      await server.stop();
    }
  });
});
