// Rows that are deleted: which, what is told before, what is refused.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';
import { count, outbox, rows } from './setup.ts';

let db: TestDatabase;
let workspace: Workspace;

const jobs = `
rows:
  jobs:
    outbox-published:
      purge: public.event_outbox
      olderThan: published_at 7 days
      where: status = 'PUBLISHED'
    outbox-failed: { purge: public.event_outbox, olderThan: created_at 30 days, where: status = 'FAILED' }
`;

beforeAll(async () => {
  db = await createDatabase('rows_purge');
  workspace = createWorkspace(db, jobs);
});
afterAll(() => db.drop());

describe('the jobs of the configuration', () => {
  it('delete what was published 7 days ago and what failed 30 days ago, unattended', async () => {
    await outbox(db, 3000);
    const result = await rows(workspace, 'run');
    expect(result.stderr).toContain('public.event_outbox');
    expect(result.code).toBe(0);
    expect(await count(db, 'public.event_outbox', "status = 'PUBLISHED'")).toBe(112);
    expect(await count(db, 'public.event_outbox', "status = 'FAILED'")).toBe(240);
    const [oldest] = await db.query<{ n: string }>(
      "select payload ->> 'n' as n from event_outbox where status = 'PUBLISHED' order by id desc limit 1",
    );
    expect(oldest!.n).toBe('167');
    expect(await db.query('select name from dbops.job')).toEqual([]);
    const again = await rows(workspace, 'run', 'outbox-published', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({
      data: { jobs: [{ job: 'outbox-published', rows: 0, left: 0 }] },
    });
    await db.query('drop table public.event_outbox');
  });

  it('are listed, and a name that is none of them is told', async () => {
    expect((await rows(workspace, 'jobs')).stdout).toMatch(
      /outbox-published\s+purge public.event_outbox\s+not begun/,
    );
    const wrong = await rows(workspace, 'run', 'outbox-publishd');
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('Did you mean outbox-published?');
  });
});

describe('by hand', () => {
  const old = ['--older-than', 'created_at 7 days'];

  it('needs a yes, and --dry-run prints a script that does the first batch', async () => {
    await outbox(db, 3000);
    const unasked = await rows(workspace, 'purge', 'event_outbox', ...old);
    expect(unasked.code).toBe(4);
    expect(unasked.stderr).toContain('Delete about 2,8');
    expect(await count(db, 'public.event_outbox')).toBe(3000);
    const dry = await rows(workspace, 'purge', 'event_outbox', ...old, '--dry-run');
    expect(dry.code).toBe(0);
    expect(dry.stdout).toContain('older than 2026-11-14 12:00:00+00');
    expect(dry.stdout).toContain('The run goes on block by block, up to block ');
    expect(await db.query("select to_regclass('dbops.job') as job")).not.toEqual([]);
    for (const statement of dry.stdout
      .split('\n')
      .filter((line) => !/^(--|\\)/.test(line))
      .join('\n')
      .split(';\n'))
      if (statement.trim() !== '') await db.query(statement);
    const left = await count(db, 'public.event_outbox');
    expect(left).toBeGreaterThan(168);
    expect(left).toBeLessThan(2800);
    expect((await rows(workspace, 'purge', 'event_outbox', ...old, '--yes')).code).toBe(0);
    expect(await count(db, 'public.event_outbox')).toBe(168);
    await db.query('drop table public.event_outbox');
  });
});
