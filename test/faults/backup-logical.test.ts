// A pg_dump that fails, lies or is killed, a full disk, a server that restarts, a run that is killed, two at once: there is
// never a backup that is not whole, and the next run is clean.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createDatabase,
  ownDatabase,
  startPrivateServer,
  waitUntil,
  type TestDatabase,
} from '../support/database.ts';
import { filesIn } from '../support/archive-run.ts';
import {
  backupsIn,
  createBackup,
  fakePrograms,
  fillDatabase,
  logicalSetup,
  logicalYaml,
  restoreByHand,
  rowsOf,
  whyNoDump,
  type FakePrograms,
  type LogicalSetup,
} from '../support/logical-backup.ts';

const noDump = whyNoDump();
let db: TestDatabase;
let setup: LogicalSetup;
let programs: FakePrograms;
const made: TestDatabase[] = [];

beforeAll(async () => {
  db = await createDatabase('backup_faults');
  await fillDatabase(db);
});
afterAll(async () => {
  for (const item of [db, ...made]) await item.drop();
});
beforeEach(() => {
  setup = logicalSetup(db);
  programs = fakePrograms(setup.dir);
});

async function expectNothing(own = setup, state = 'failed'): Promise<void> {
  expect(filesIn(own.store)).toEqual([]);
  expect(fs.readdirSync(own.work)).toEqual([]);
  const [last] = await own.db.query<{ state: string }>(
    'select state from dbops.backup order by started_at desc limit 1',
  );
  expect(last?.state).toBe(state);
}

async function expectNextRunToBeWhole(own = setup, left: string[] = []): Promise<void> {
  const { folder, manifest } = await createBackup(own, ['--kind', 'logical']);
  expect(fs.readdirSync(own.work)).toEqual(left);
  expect(backupsIn(own.store).map((item) => item.manifest.id)).toEqual([manifest.id]);
  const target = await restoreByHand(folder, manifest);
  made.push(target);
  expect(await rowsOf(target, 'log_lines')).toEqual(await rowsOf(own.db, 'log_lines'));
}

describe.skipIf(noDump !== undefined)('pg_dump', () => {
  const lies: { name: string; program?: string; args: string[]; script: string; says: RegExp }[] = [
    { name: 'ends with 0 and writes nothing', args: [], script: 'exit 0', says: /no table of contents/ },
    {
      name: 'ends with 0 and streams nothing',
      args: ['--stream'],
      script: 'exit 0',
      says: /pg_restore ended with/,
    },
    {
      name: 'ends with 0 and is cut off in the stream',
      args: ['--stream'],
      script: `"$real" "$@" | head -c 200000; exit 0`,
      says: /pg_restore ended with|cut off/,
    },
    {
      name: 'ends with 0 and a file is cut off',
      args: [],
      script: `"$real" "$@" 2>"$own/said"; code=$?; dir=$(echo "$*" | sed 's/.* -f \\([^ ]*\\) .*/\\1/')
        truncate -s -100 "$(ls -S "$dir"/*.dat | head -1)"; cat "$own/said" >&2; exit $code`,
      says: /was cut off/,
    },
    {
      name: 'ends with 0 and leaves a table out',
      args: [],
      script: 'exec "$real" "$@" --exclude-table-data=public.log_lines',
      says: /the dump has no rows of public\.log_lines/,
    },
    {
      name: 'ends with 0 and leaves a table out of the stream',
      args: ['--stream'],
      script: 'exec "$real" "$@" --exclude-table-data=public.log_lines',
      says: /the dump has no rows of public\.log_lines/,
    },
    {
      name: 'ends with 1',
      args: [],
      script: 'echo "pg_dump: error: no way" >&2; exit 1',
      says: /exit code 1[^]*no way/,
    },
    { name: 'is killed', args: [], script: 'kill -9 $$', says: /pg_dump was ended by SIGKILL/ },
    {
      name: 'is killed in the stream',
      args: ['--stream'],
      script: 'printf PGDMP; kill -9 $$',
      says: /ended by SIGKILL/,
    },
    {
      name: 'ends with 0 and a script is cut off',
      args: ['--kind', 'schema'],
      script: `"$real" "$@" | head -n 30; exit 0`,
      says: /"PostgreSQL database dump complete" is missing/,
    },
    {
      name: 'is whole, and pg_dumpall says nothing',
      program: 'pg_dumpall',
      args: [],
      script: 'exit 0',
      says: /what pg_dumpall wrote was cut off/,
    },
    {
      name: 'is whole, and a stored file is taken away',
      program: 'zstd',
      args: [],
      script: `case "$*" in *toc.dat) find "$own/../store" -name 'globals.sql.zst' -delete;; esac`,
      says: /globals\.sql\.zst in store "local", which was written before: it is missing/,
    },
    {
      name: 'is whole, and zstd is killed',
      program: 'zstd',
      args: [],
      script: 'case "$*" in *.dat) kill -9 $$;; esac',
      says: /zstd was ended by SIGKILL/,
    },
  ];
  for (const { name, program = 'pg_dump', args, script, says } of lies) {
    it(name, async () => {
      programs.replace(program, script);
      const kind = args.includes('--kind') ? [] : ['--kind', 'logical'];
      const result = await setup.run(['backup', 'create', ...kind, ...args], programs.env);
      expect(result.code, result.stderr).toBe(7);
      expect(result.stderr).toMatch(says);
      expect(result.stderr).toContain('no backup');
      await expectNothing();
    });
  }
});

it.skipIf(noDump !== undefined)('no store is given up for what pg_dump left out', async () => {
  programs.replace('pg_dump', 'exec "$real" "$@" --exclude-table-data=public.log_lines');
  const stores = `stores:\n  far: { url: "file://${path.join(setup.dir, 'far')}" }\n`;
  const yaml = logicalYaml(setup.store, setup.work, '  copies: [local, far]\n  required: 1\n');
  setup.configure(yaml.replace('stores:\n', stores));
  const result = await setup.run(['backup', 'create', '--kind', 'logical'], programs.env);
  expect(result.stderr).toMatch(/the dump has no rows of public\.log_lines/);
  expect(result.stderr).not.toContain('no copy in store');
  await expectNothing();
});

it.skipIf(noDump !== undefined)(
  'a backup whose session is lost is told to the ledger by another',
  async () => {
    programs.replace(
      'zstd',
      'case "$*" in *toc.dat) touch "$own/at"; while [ ! -e "$own/go" ]; do sleep 0.05; done;; esac',
    );
    const running = setup.spawn(['backup', 'create', '--kind', 'logical'], programs.env);
    await waitUntil(() => fs.existsSync(path.join(programs.own, 'at')), { what: 'the end of the dump' });
    const ended = await db.query(`select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'
    and database = (select oid from pg_database where datname = current_database())`);
    expect(ended.length).toBe(1);
    fs.writeFileSync(path.join(programs.own, 'go'), '');
    const { code, stderr } = await running.done;
    expect(code, stderr).toBe(0);
    expect(stderr).not.toContain('no backup');
    const [{ manifest } = { manifest: undefined }] = backupsIn(setup.store);
    const [row] = await db.query('select id, state from dbops.backup order by started_at desc limit 1');
    expect(row).toEqual({ id: manifest?.id, state: 'done' });
  },
);

describe.skipIf(noDump !== undefined)('kill -9 of dbops', () => {
  it('leaves nothing that counts, and no program; the next run cleans up', async () => {
    programs.replace('pg_dump', 'echo $$ >"$own/pid"; "$real" "$@"; sleep 600');
    const running = setup.spawn(['backup', 'create', '--kind', 'logical'], programs.env);
    await waitUntil(() => filesIn(setup.store).some((file) => /\d\.dat\.zst$/.test(file)), {
      what: 'a stored table',
    });
    const pid = Number(fs.readFileSync(path.join(programs.own, 'pid'), 'utf8'));
    running.kill('SIGKILL');
    await running.done;
    await waitUntil(() => !fs.existsSync(`/proc/${String(pid)}`), { what: 'the end of pg_dump' });
    expect(backupsIn(setup.store)).toEqual([]);
    expect(fs.readdirSync(setup.work).length).toBe(1);
    // That of a database whose name begins as this one's.
    const other = path.join(setup.work, fs.readdirSync(setup.work)[0]!.replace(/-(\d{8}T\d{6}Z-)/, '-eu-$1'));
    fs.mkdirSync(other);
    await waitUntil(
      async () =>
        (
          await db.query(`select from pg_stat_activity where application_name = 'dbops backup'
        and datname = current_database()`)
        ).length === 0,
      { what: 'the end of the sessions' },
    );
    await expectNextRunToBeWhole(setup, [path.basename(other)]);
  });

  it('that is only asked to end leaves nothing at all, and the ledger knows', async () => {
    programs.replace('pg_dump', 'echo $$ >"$own/pid"; sleep 600');
    const running = setup.spawn(['backup', 'create', '--kind', 'logical'], programs.env);
    await waitUntil(() => fs.existsSync(path.join(programs.own, 'pid')), { what: 'pg_dump' });
    running.kill('SIGTERM');
    expect((await running.done).code).toBe(143);
    await expectNothing();
  });

  it('does not come from a second run, which is refused', async () => {
    programs.replace(
      'pg_dump',
      'touch "$own/begun"; while [ ! -e "$own/go" ]; do sleep 0.05; done; exec "$real" "$@"',
    );
    const running = setup.spawn(['backup', 'create', '--kind', 'logical'], programs.env);
    await waitUntil(() => fs.existsSync(path.join(programs.own, 'begun')), { what: 'pg_dump' });
    const second = await setup.run(['backup', 'create', '--kind', 'logical']);
    expect(second.code, second.stderr).toBe(4);
    expect(second.stderr).toContain('another dbops run works on "backup create"');
    fs.writeFileSync(path.join(programs.own, 'go'), '');
    expect((await running.done).code).toBe(0);
    expect(backupsIn(setup.store).length).toBe(1);
  });
});

describe.skipIf(noDump !== undefined)('a full disk', () => {
  for (const place of ['work', 'store'] as const) {
    it(`under the ${place}`, async (context) => {
      const disk = setup[place];
      fs.mkdirSync(disk, { recursive: true });
      const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk], {
        stdio: 'ignore',
      });
      if (mounted.status !== 0) context.skip('a small disk cannot be mounted here');
      const full = await createDatabase('backup_disk');
      made.push(full);
      try {
        // Bytes that cannot be compressed, and are twice as long as text.
        await full.query(`create table log_lines as select g as id, (select string_agg(sha256((g || '-' || i)::bytea), '')
          from generate_series(1, 50) as i) as line from generate_series(1, ${place === 'work' ? 4000 : 8000}) as g`);
        const own = { ...setup, ...logicalSetup(full), store: setup.store, work: setup.work };
        own.configure(logicalYaml(setup.store, setup.work));
        const result = await own.run(['backup', 'create', '--kind', 'logical']);
        expect(result.code, result.stderr).toBe(7);
        expect(result.stderr).toMatch(
          place === 'work' ? /No space left on device[^]*--stream/ : /the disk is full/,
        );
        await expectNothing(own);
        spawnSync('mount', ['-o', 'remount,size=64m', disk]);
        await expectNextRunToBeWhole(own);
      } finally {
        spawnSync('umount', [disk]);
      }
    });
  }

  it('is seen before the dump where it can be', async (context) => {
    fs.mkdirSync(setup.work, { recursive: true });
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', setup.work], {
      stdio: 'ignore',
    });
    if (mounted.status !== 0) context.skip('a small disk cannot be mounted here');
    try {
      const result = await setup.run(['backup', 'create', '--kind', 'logical']);
      expect(result.code, result.stderr).toBe(4);
      expect(result.stderr).toMatch(/free, and the dump may need/);
      expect(filesIn(setup.store)).toEqual([]);
      expect((await setup.run(['backup', 'create', '--kind', 'logical', '--stream'])).code).toBe(0);
    } finally {
      spawnSync('umount', [setup.work]);
    }
  });
});

it.skipIf(noDump !== undefined)('survives a server that restarts in the middle', async (context) => {
  const server = await startPrivateServer().catch(() => undefined);
  if (server === undefined) return context.skip('no private server can be started here');
  try {
    const own = logicalSetup(ownDatabase(server));
    await own.db.query(
      `create table log_lines as select g as id, md5(g::text) as line from generate_series(1, 20000) as g`,
    );
    const fakes = fakePrograms(own.dir);
    fakes.replace(
      'pg_dump',
      '"$real" "$@"; touch "$own/done"; while [ ! -e "$own/go" ]; do sleep 0.05; done; exec "$real" "$@" --schema-only',
    );
    const running = own.spawn(['backup', 'create', '--kind', 'logical'], fakes.env);
    await waitUntil(() => fs.existsSync(path.join(fakes.own, 'done')), { what: 'the first half' });
    await server.restart();
    fs.writeFileSync(path.join(fakes.own, 'go'), '');
    const result = await running.done;
    expect(result.code, result.stderr).not.toBe(0);
    expect(backupsIn(own.store)).toEqual([]);
    expect(fs.readdirSync(own.work)).toEqual([]);
    await expectNextRunToBeWhole(own);
  } finally {
    await server.stop({ immediate: true });
  }
});
