// What goes wrong while a base backup is made: programs that fail, lie or are killed, sessions that are ended, a full
// disk, two runs at once. Each is a failed backup of which nothing is left, and the next run is clean.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createBase, startFaultSite, type FaultSite } from '../support/base-faults.ts';
import { databaseUrl, waitUntil } from '../support/database.ts';
import {
  backupFiles,
  siteYaml,
  slowly,
  unpack,
  verifyUnpacked,
  walsender,
  whyNoBasebackup,
  whyNoPzstd,
  type PhysicalSite,
} from '../support/physical.ts';

const missing = whyNoBasebackup();

let site: PhysicalSite;
let programs: FaultSite['programs'];
let startAfresh: FaultSite['startAfresh'];

beforeAll(async () => {
  if (missing !== undefined) return;
  ({ site, programs, startAfresh } = await startFaultSite());
});

beforeEach((context) => {
  if (missing !== undefined) return context.skip(missing);
  startAfresh();
});

const lastState = async () => {
  const rows = await site.db.query<{ state: string }>(
    'select state from dbops.backup order by started_at desc limit 1',
  );
  return rows[0]?.state;
};

async function untilIdle(): Promise<void> {
  await waitUntil(
    async () => {
      const rows = await site.db.query(
        "select from pg_stat_activity where application_name like 'dbops backup%' and pid <> pg_backend_pid()",
      );
      return rows.length === 0;
    },
    { what: 'the end of every session of dbops', timeoutMs: 20_000 },
  );
}

/** Nothing is left of it, and the next run makes a backup that can be restored. */
async function expectNextToBeClean(state = 'failed'): Promise<void> {
  await untilIdle();
  expect(await lastState()).toBe(state);
  programs.replace('pg_basebackup', undefined);
  programs.replace('zstd', undefined);
  const made = await site.made('base');
  const data = unpack(made);
  const options = made.manifest.physical?.wal === 'archive' ? { walDir: site.walDir } : {};
  expect(verifyUnpacked(data, { binDir: site.server.binDir, ...options })).toMatchObject({ code: 0 });
}

describe('a program', () => {
  it.each([
    [
      'pg_basebackup',
      'fails',
      'echo "no luck today" >&2; exit 1',
      /pg_basebackup ended with exit code 1[^]*no luck today/,
    ],
    ['pg_basebackup', 'writes nothing and says that all is well', 'exit 0', /no whole base backup/],
    [
      'pg_basebackup',
      'writes a part and says that all is well',
      '"$real" "$@" | head -c 300000',
      /no whole base backup/,
    ],
    [
      'pg_basebackup',
      'is killed in the middle',
      '"$real" "$@" | head -c 300000; kill -9 $$',
      /was ended by SIGKILL/,
    ],
    ['pg_basebackup', 'writes something else', 'head -c 5000000 /dev/zero', /no whole base backup/],
    [
      'pzstd',
      'is killed in the middle',
      '"$real" "$@" | head -c 70000; kill -9 $$',
      /pzstd was ended by SIGKILL/,
    ],
    ['pzstd', 'fails at its end', '"$real" "$@"; exit 3', /pzstd ended with exit code 3/],
    [
      'pzstd',
      'loses a part and says that all is well',
      '"$real" "$@" | { head -c 70000; cat >/dev/null; }',
      /base\.tar\.zst in store "cold" is damaged/,
    ],
  ] as const)('%s %s', async (name, _, script, words) => {
    if (name === 'pzstd' && whyNoPzstd() !== undefined) return;
    programs.replace(name, script);
    const { code, stderr } = await site.run(createBase, programs.env);
    expect([code, stderr]).toEqual([7, expect.stringMatching(words)]);
    expect(backupFiles(site)).toEqual([]);
    expect(await lastState()).toBe('failed');
  });

  it.each([
    [
      'pg_basebackup',
      'writes a part and says that all is well',
      '"$real" "$@" | head -c 300000',
      /no whole base backup/,
    ],
    ['pg_basebackup', 'writes something else', 'head -c 5000000 /dev/zero', /no whole base backup/],
    [
      'zstd',
      'is killed in the middle',
      '"$real" "$@" | head -c 70000; kill -9 $$',
      /zstd was ended by SIGKILL/,
    ],
    ['zstd', 'fails at its end', '"$real" "$@"; exit 3', /zstd ended with exit code 3/],
  ] as const)('%s %s, where there is no pzstd', async (name, _, script, words) => {
    programs.replace(name, script);
    const { code, stderr } = await site.run(createBase, programs.envWithoutPzstd);
    expect([code, stderr]).toEqual([7, expect.stringMatching(words)]);
    expect(backupFiles(site)).toEqual([]);
  });

  it('that failed leaves nothing to the next run', async () => {
    programs.replace('pg_basebackup', 'exit 1');
    expect((await site.run(createBase, programs.env)).code).toBe(7);
    await expectNextToBeClean();
  });
});

describe('in the middle', () => {
  beforeEach(() => programs.replace('pg_basebackup', slowly));

  it('dbops is killed: its programs end, and the next run takes its lease over', async () => {
    const running = site.spawn(createBase, programs.env);
    await walsender(site);
    running.kill('SIGKILL');
    await running.done;
    await untilIdle();
    expect(backupFiles(site).some((file) => file.endsWith('manifest.json'))).toBe(false);
    expect(backupFiles(site).some((file) => file.endsWith('lease.json'))).toBe(true);
    await expectNextToBeClean('running');
    expect(backupFiles(site).some((file) => file.endsWith('lease.json'))).toBe(false);
  });

  it('it is interrupted: nothing is left', async () => {
    const running = site.spawn(createBase, programs.env);
    await walsender(site);
    running.kill('SIGINT');
    const { code } = await running.done;
    expect(code).toBe(130);
    await untilIdle();
    expect(backupFiles(site)).toEqual([]);
  });

  it('the walsender is terminated', async () => {
    const running = site.spawn(createBase, programs.env);
    const pid = await walsender(site);
    await site.db.query('select pg_terminate_backend($1)', [pid]);
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([7, expect.stringMatching(/pg_basebackup ended with exit code 1/)]);
    expect(backupFiles(site)).toEqual([]);
    await expectNextToBeClean();
  });

  it('the server is restarted', async () => {
    const running = site.spawn(createBase, programs.env);
    await walsender(site);
    await site.server.kill9();
    const { code } = await running.done;
    expect([3, 7]).toContain(code);
    await site.server.restart();
    expect(backupFiles(site)).toEqual([]);
    // Nobody could tell the ledger.
    await expectNextToBeClean('running');
  });

  it('a second run is refused, from this database and from another one', async () => {
    const running = site.spawn(createBase, programs.env);
    await walsender(site);
    const here = await site.run(createBase);
    expect([here.code, here.stderr]).toEqual([4, expect.stringContaining('another dbops run works on')]);
    const there = await site.run(createBase, { DATABASE_URL: databaseUrl(site.db.url, 'template1') });
    expect([there.code, there.stderr]).toEqual([
      4,
      expect.stringMatching(/another base backup of this cluster is being made: \S+ by process \d+ on host/),
    ]);
    const { code, stderr } = await running.done;
    expect(code, stderr).toBe(0);
    expect(backupFiles(site).filter((file) => file.endsWith('manifest.json'))).toHaveLength(1);
    expect(backupFiles(site).some((file) => file.endsWith('lease.json'))).toBe(false);
  });

  it('another run takes the lease: this one does not come into being', async () => {
    const running = site.spawn(createBase, programs.env);
    await walsender(site);
    const file = path.join(site.store, site.systemIdentifier, 'backup/cluster/lease.json');
    const lease = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>;
    fs.writeFileSync(file, JSON.stringify({ ...lease, backup: 'another', host: 'elsewhere' }));
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([4, expect.stringContaining('on host elsewhere')]);
    expect(backupFiles(site)).toEqual(['cluster/lease.json']);
    // A dead one of another host expires.
    const old = new Date(Date.now() - 1000).toISOString();
    fs.writeFileSync(file, JSON.stringify({ ...lease, host: 'elsewhere', expiresAt: old }));
    await expectNextToBeClean();
  });

  it('no password stands in the arguments of a program', async () => {
    const password = 'hunter2-and-more';
    await site.db.query(`create role copier login superuser password '${password}'`);
    const running = site.spawn(createBase, {
      ...programs.env,
      DATABASE_URL: site.db.url.replace('//postgres@', `//copier:${password}@`),
    });
    await walsender(site);
    const seen = fs
      .readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => {
        try {
          return fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        } catch {
          return '';
        }
      });
    expect(seen.some((line) => line.includes('pg_basebackup'))).toBe(true);
    expect(seen.filter((line) => line.includes(password))).toEqual([]);
    const { code, stdout, stderr } = await running.done;
    expect(code, stderr).toBe(0);
    expect(stdout + stderr).not.toContain(password);
    const written = backupFiles(site).filter((file) => !file.endsWith('.zst'));
    for (const file of written) {
      const text = fs.readFileSync(path.join(site.store, site.systemIdentifier, 'backup', file), 'latin1');
      expect(text).not.toContain(password);
    }
  });
});

describe('the disk of the store is full', () => {
  let disk: string;
  afterAll(() => {
    if (disk !== undefined) spawnSync('umount', [disk]);
  });

  it('names it, and leaves nothing', async (context) => {
    disk = path.join(site.dir, 'disk');
    fs.mkdirSync(disk);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { stdio: 'ignore' });
    if (mounted.status !== 0) return context.skip('a small disk cannot be mounted here');
    site.configure(siteYaml(path.join(disk, 'store')));
    const { code, stderr } = await site.run(createBase, programs.env);
    site.configure(siteYaml(site.store));
    expect([code, stderr]).toEqual([7, expect.stringContaining('the disk is full')]);
    const left = fs.readdirSync(path.join(disk, 'store'), { recursive: true, withFileTypes: true });
    expect(left.filter((entry) => entry.isFile())).toEqual([]);
    await expectNextToBeClean();
  });
});
