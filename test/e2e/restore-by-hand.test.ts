// docs/restore-by-hand.md, run as it stands there: an archive becomes a table with psql, zstd and sha256sum alone.
import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { runProgram } from '../support/cli.ts';
import { openSession } from '../support/database.ts';
import { openExampleShell } from '../support/examples.ts';

const document = path.resolve(import.meta.dirname, '..', '..', 'docs', 'restore-by-hand.md');

/** The database that the text makes. */
const restored = 'llm_history';
const table = 'public.llm_calls_y2026m05';

/** All blocks marked `sh`, as one script that stops at the first failure. */
function scriptOf(markdown: string): string {
  const blocks = [...markdown.matchAll(/^```sh\n(.*?)^```$/gms)].map((match) => match[1]!);
  expect(blocks.length).toBeGreaterThan(6);
  return ['set -euo pipefail', ...blocks].join('\n');
}

it('docs/restore-by-hand.md makes an equal table, and stops where a part is damaged', async () => {
  const shell = await openExampleShell();
  const run = await shell.run(`dbops archive run --partition ${table} --until verified --json`);
  expect(run.code, run.stderr).toBe(0);
  const { data } = JSON.parse(run.stdout) as { data: { partitions: { archive: string }[] } };
  const store = path.join(path.dirname(shell.dir), 'store');
  const manifest = fs
    .readdirSync(store, { recursive: true, encoding: 'utf8' })
    .find((file) => file.includes(data.partitions[0]!.archive) && file.endsWith('manifest.json'));
  const folder = path.dirname(path.join(store, manifest!));

  const url = new URL(shell.database.url);
  const env = { PGHOST: url.hostname, PGPORT: url.port, PGUSER: url.username };
  const script = scriptOf(fs.readFileSync(document, 'utf8'));
  const drop = `drop database if exists ${restored} with (force)`;
  await shell.database.query(drop);
  try {
    const result = await runProgram(['bash', '-c', script], { cwd: folder, env });
    expect(result.code, `${result.stdout}${result.stderr}`).toBe(0);
    expect(result.stdout).toContain('part-00000.copy.zst: OK');
    expect(result.stdout).toContain('schema.sql: OK');
    expect(result.stdout).toMatch(/attach partition public\.llm_calls_y2026m05 FOR VALUES FROM/);

    url.pathname = `/${restored}`;
    const session = await openSession(url.href);
    const facts = `select count(*)::int as rows, md5(string_agg(t::text, '' order by t::text)) as hash,
                          (select count(*)::int from pg_index where indrelid = '${table}'::regclass) as indexes
                     from only ${table} as t`;
    const [found] = await session.query<{ rows: number; indexes: number }>(facts);
    await session.end();
    const [original] = await shell.database.query(facts);
    expect(found).toEqual(original);
    expect(found!.rows).toBeGreaterThan(0);
    expect(found!.indexes).toBeGreaterThan(0);
  } finally {
    await shell.database.query(drop);
  }

  fs.appendFileSync(path.join(folder, 'part-00000.copy.zst'), 'x');
  const damaged = await runProgram(['bash', '-c', script], { cwd: folder, env });
  expect(damaged.code).not.toBe(0);
  expect(damaged.stdout).toContain('part-00000.copy.zst: FAILED');
  expect(await shell.database.query('select from pg_database where datname = $1', [restored])).toEqual([]);
});
