// "restore pitr" of a backup that lies in the repository of a real pgBackRest.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ownDatabase, serverBinaries } from '../../support/database.ts';
import {
  archiveWal,
  startPgbackrest,
  whyNoPgbackrest,
  type PgbackrestSite,
} from '../../support/pgbackrest.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

const missing = whyNoPgbackrest();

let site: PgbackrestSite;
let work: Workspace;
let db: ReturnType<typeof ownDatabase>;
let id: string;
let directories = 0;

beforeAll(async () => {
  if (missing !== undefined) return;
  site = await startPgbackrest();
  db = ownDatabase(site.server);
  work = createWorkspace(db, '');
  work.configure(`stores:\n  near: { url: "file://${work.dir}/store" }\nbackup:\n${site.yaml}`);
  await db.query("create table public.t as select 'before' as mark");
  const made = await run('backup', 'create', '--kind', 'pgbackrest', '--json');
  expect(made.code, made.stderr).toBe(0);
  id = (JSON.parse(made.stdout) as { data: { id: string } }).data.id;
  await db.query("insert into public.t values ('until')");
});
afterAll(async () => {
  await site?.stop();
});

const run = (...args: string[]) =>
  work.run(args, { PATH: `${serverBinaries()}${path.delimiter}${process.env['PATH'] ?? ''}` });

/** Restores into a directory of its own and starts the server, whose rows are read before it is stopped. */
async function restore(to: string, ...more: string[]) {
  const directory = path.join(site.dir, `restored-${(directories += 1)}`);
  const args = ['restore', 'pitr', id, '--to', to, '--data-dir', directory, '--start', '--yes', '--json'];
  const { code, stdout, stderr } = await run(...args, ...more);
  if (code !== 0) return { code, stderr, directory, marks: [], data: undefined };
  const { data } = JSON.parse(stdout) as {
    data: {
      server: { pid: number; port: number; socketDirectory: string };
      reached: { timeline: number; stoppedBy: string | null };
    };
  };
  try {
    const clone = ownDatabase({
      url: `postgresql://postgres@localhost:${data.server.port}/postgres?host=${data.server.socketDirectory}`,
    });
    const rows = await clone.query<{ mark: string }>('select mark from public.t order by mark');
    return { code, stderr, directory, marks: rows.map((row) => row.mark), data };
  } finally {
    process.kill(data.server.pid, 'SIGQUIT');
  }
}

it('reaches a time, a named point and the end, and leaves the archive alone', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const [row] = await db.query<{ at: string }>(
    "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || 'Z' as at",
  );
  await db.query("select pg_create_restore_point('here')");
  await db.query("insert into public.t values ('zz after')");
  await archiveWal(site, db);
  const before = site.run('repo-ls', '--recurse', 'archive/main').output;

  expect(await restore(`time:${row!.at}`)).toMatchObject({ code: 0, marks: ['before', 'until'] });
  expect(await restore('name:here')).toMatchObject({ code: 0, marks: ['before', 'until'] });
  const latest = await restore('latest');
  expect(latest).toMatchObject({
    code: 0,
    marks: ['before', 'until', 'zz after'],
    data: { reached: { timeline: 2 } },
  });
  expect(site.run('repo-ls', '--recurse', 'archive/main').output).toBe(before);
});

it('says what it would run, and refuses before anything is written', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const directory = path.join(site.dir, 'never');
  const of = (to: string, ...more: string[]) =>
    run('restore', 'pitr', id, '--to', to, '--data-dir', directory, ...more);
  const plan = await of('immediate', '--dry-run');
  expect(plan.code, plan.stderr).toBe(0);
  expect(plan.stdout).toMatch(/^pgbackrest restore .*--set=\S+ --type=immediate/m);
  const early = await of('time:2020-01-01 00:00:00Z', '--yes');
  expect([early.code, early.stderr]).toEqual([4, expect.stringContaining('ended at')]);
  const unasked = await of('latest');
  expect(unasked.code).toBe(4);
  expect(fs.existsSync(directory)).toBe(false);
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, 'mine'), '');
  const full = await of('latest', '--yes');
  expect([full.code, full.stderr]).toEqual([4, expect.stringContaining('is not empty')]);
  expect(fs.readdirSync(directory)).toEqual(['mine']);
});

it('fails loudly where the target is not reached, and leaves no server', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const { code, stderr } = await restore('name:nowhere');
  expect(code).toBe(7);
  expect(stderr).toContain('did not reach its target');
});
