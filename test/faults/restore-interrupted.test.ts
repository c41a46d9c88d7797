// Restores of databases and tables that are killed, lose their server, have no space or meet each other: nothing half stands
// under a name that somebody asked for, and the next run ends clean.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CliResult } from '../support/cli.ts';
import { waitUntil } from '../support/database.ts';
import { fakePrograms } from '../support/logical-backup.ts';
import { createRestoreSite, editManifest, whyNoDumps, type RestoreSite } from '../support/restores.ts';

const reason = await whyNoDumps();
let site: RestoreSite;
let id: string;

beforeAll(async () => {
  if (reason !== undefined) return;
  site = await createRestoreSite(async (db) => {
    await db.query(`
      create table lines (id bigserial, at date not null, line text, primary key (id, at)) partition by range (at);
      create table lines_1 partition of lines for values from ('2026-01-01') to ('2026-02-01');
      create table lines_2 partition of lines for values from ('2026-02-01') to ('2026-03-01');
      insert into lines (at, line)
        select date '2026-01-01' + g % 59, (select string_agg(md5((g || '-' || i)::text), '') from generate_series(1, 8) as i)
          from generate_series(1, 12000) as g`);
  });
  id = await site.backup('--kind', 'logical');
});
beforeEach((context) => context.skip(reason !== undefined, reason));
afterEach(async () => {
  if (reason !== undefined) return;
  await site.on('shop').query('drop schema if exists checked cascade');
  for (const name of ['copy', 'copy_2'])
    await site.on('postgres').query(`drop database if exists ${name} with (force)`);
});

const whole = () => ['restore', 'database', id, '--into', 'copy', '--yes'];
const table = () => ['restore', 'table', id, '--table', 'public.lines', '--into', 'checked.lines', '--yes'];

/** What runs have left on the server. */
async function left(): Promise<string[]> {
  const schemas = await site
    .on('shop')
    .query<{ name: string }>(
      "select nspname as name from pg_namespace where nspname like 'dbops\\_%' order by 1",
    );
  return [...(await site.databases()).filter((name) => name !== 'shop'), ...schemas.map((row) => row.name)];
}

async function expectNothing(): Promise<void> {
  expect(await left()).toEqual([]);
  expect(site.remains()).toEqual([]);
  expect(await site.on('shop').query("select to_regclass('checked.lines')::text as found")).toEqual([
    { found: null },
  ]);
}

async function expectDone(args: string[], result?: CliResult): Promise<void> {
  const { code, stderr } = result ?? (await site.run(args));
  expect(code, stderr).toBe(0);
  const isTable = args[1] === 'table';
  const [row] = await site
    .on(isTable ? 'shop' : 'copy')
    .query<{ rows: number }>(`select count(*)::int as rows from ${isTable ? 'checked' : 'public'}.lines`);
  expect(row?.rows).toBe(12_000);
  expect(await left()).toEqual(isTable ? [] : ['copy']);
  expect(site.remains()).toEqual([]);
}

/** Programs that stop in the middle of a restore, and say so with a file. */
function stopping(program: string, when: string, until: string) {
  const fakes = fakePrograms(site.work.dir);
  fakes.replace(program, `case "$*" in ${when}) touch "$own/begun"; ${until};; esac`);
  return { ...fakes, begun: () => fs.existsSync(path.join(fakes.own, 'begun')) };
}

const moments: { name: string; args: () => string[]; program: string; when: string; leaves: RegExp[] }[] = [
  {
    name: 'a database while it is loaded',
    args: whole,
    program: 'pg_restore',
    when: '*" -d "*',
    leaves: [/^dbops_restoring_/],
  },
  {
    name: 'a table while its definition is read',
    args: table,
    program: 'pg_dump',
    when: '*dbops_restoring_*',
    leaves: [/^dbops_scratch_/],
  },
  {
    name: 'a table while its rows are loaded',
    args: table,
    program: 'psql',
    when: '*"-f - "*',
    leaves: [/^dbops_restoring_/],
  },
];

describe.each(moments)('the restore of $name', ({ args, program, when, leaves }) => {
  it('is killed, and the next run begins anew and ends clean', async () => {
    const fakes = stopping(program, when, 'sleep 600');
    const running = site.work.spawn(args(), fakes.env);
    await waitUntil(fakes.begun, { what: program });
    running.kill('SIGKILL');
    await running.done;
    const found = await left();
    expect(found).toHaveLength(leaves.length);
    for (const [index, pattern] of leaves.entries()) expect(found[index]).toMatch(pattern);
    await expectDone(args());
  });

  it('loses its server, and fails with nothing under the name that was asked for', async () => {
    const fakes = stopping(program, when, 'while [ ! -e "$own/go" ]; do sleep 0.05; done');
    const running = site.work.spawn(args(), fakes.env);
    await waitUntil(fakes.begun, { what: program });
    await site.server.restart();
    fs.writeFileSync(path.join(fakes.own, 'go'), '');
    const { code, stderr } = await running.done;
    expect([3, 4, 5, 7], stderr).toContain(code);
    expect(await site.databases()).not.toContain('copy');
    expect(await site.on('shop').query("select to_regclass('checked.lines')::text as found")).toEqual([
      { found: null },
    ]);
    expect(site.remains()).toEqual([]);
    await expectDone(args());
  });
});

describe.each([
  ['database', whole],
  ['table', table],
] as const)('the restore of a %s', (kind, args) => {
  it('has no space to work in: seen before, or told when the disk is full', async (context) => {
    const disk = path.join(site.work.dir, 'work');
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk], { stdio: 'ignore' });
    if (mounted.status !== 0) context.skip('a small disk cannot be mounted here');
    const small = await site.backup('--kind', 'logical', '--stream');
    try {
      const own = args().map((arg) => (arg === id ? small : arg));
      const seen = await site.run(own);
      expect(seen.stderr).toMatch(/the work directory has .* free, and the dump needs about/);
      expect(seen.code).toBe(4);
      await expectNothing();
      editManifest(site, small, (_, logical) => {
        for (const item of logical.tables) item.sizeBytes = 0;
      });
      const full = await site.run(own);
      expect(full.stderr).toMatch(/No space left on device|disk is full/);
      expect(full.code).toBe(7);
      await expectNothing();
    } finally {
      spawnSync('umount', [disk]);
    }
  });

  it('runs twice at once: one of them does it, and the other says what became of it', async () => {
    const results = await Promise.all([site.run(args()), site.run(args())]);
    const [done, more] = results.filter((result) => result.code === 0);
    expect(more).toBeUndefined();
    const [other] = results.filter((result) => result !== done);
    if (kind === 'table') {
      expect(other?.stderr).toMatch(/lines\S* (is there already|already exists)/);
    } else if (other?.code === 5) {
      // It was whole as well, when the name was gone.
      expect(other.stderr).toContain('is in database "copy_2"');
      await site.on('postgres').query('drop database copy_2');
    }
    await expectDone(args(), done);
  });
});
