// Servers whose transaction ids or store are not what a ledger takes them for: another epoch, and a clone.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startServer, type Server } from '../../scripts/lib/postgres-server.mjs';
import {
  archiveSetup,
  archiveStates,
  archiveYaml,
  copyOf,
  expectNothingLost,
  filesIn,
  heldPrograms,
  later,
  ledgerStates,
  linesOf,
  makeTable,
  manifestsIn,
  now,
  startAfresh,
  untilProgramsEnd,
  type Setup,
} from '../support/archive-run.ts';
import { ownDatabase, startPrivateServer } from '../support/database.ts';
import { privateSettings } from '../support/settings.ts';

let server: Server;
let setup: Setup;

beforeAll(async () => {
  server = await startPrivateServer();
});
afterAll(() => server.stop({ immediate: true }));

beforeEach(async () => {
  setup = archiveSetup(ownDatabase(server));
  await startAfresh(setup);
  await makeTable(setup.db);
});

async function runs(on: Setup, env: Record<string, string>): Promise<string> {
  const result = await on.run(['archive', 'run'], env);
  expect(result.code, result.stderr).toBe(0);
  return result.stderr;
}

describe('transaction ids past 2^32', () => {
  const program = () => path.join(server.binDir, 'pg_resetwal');
  let epoch = 0;

  /** Between the detach and the drop 2^32 transactions go by, as far as the server can tell. */
  async function nextEpoch(): Promise<void> {
    epoch += 1;
    await server.restart({
      whileStopped: () => {
        const { uid, gid } = fs.statSync(server.dataDir);
        const { status, stderr } = spawnSync(program(), ['-e', String(epoch), '-D', server.dataDir], {
          uid,
          gid,
          cwd: server.dir,
          encoding: 'utf8',
        });
        expect(status, stderr).toBe(0);
      },
    });
    const [row] = await setup.db.query<{ xid: string }>('select pg_current_xact_id()::text as xid');
    expect(BigInt(row!.xid)).toBeGreaterThan(BigInt(epoch) << 32n);
  }

  beforeEach((context) => {
    if (!fs.existsSync(program())) context.skip('there is no pg_resetwal beside this server');
  });

  it('between detach and drop: rows that nobody changed are compared, and dropped', async () => {
    const rows = copyOf(setup.db, 'events');
    await runs(setup, now);
    await nextEpoch();
    expect(await runs(setup, later)).toContain('comparing all rows with the archive');
    expect(await ledgerStates(setup.db)).toEqual(['events_6 dropped']);
    await expectNothingLost(setup, rows);
  });

  it('between detach and drop: a row that was changed, before it or after, is kept', async () => {
    await runs(setup, now);
    await setup.db.query("update events_6 set note = 'before' where id = 6001");
    await nextEpoch();
    await setup.db.query("update events_6 set note = 'after' where id = 6002");
    const rows = copyOf(setup.db, 'events', 'events_6');
    expect(await runs(setup, later)).toMatch(/is not what archive \S+ holds/);
    expect(await ledgerStates(setup.db)).toEqual(['events_6 attached again']);
    expect(copyOf(setup.db, 'events').sort()).toEqual([...rows].sort());
    // Archived anew, and dropped: under ids of the new epoch.
    await runs(setup, later);
    const last = await runs(setup, { DBOPS_TEST_NOW: '2026-12-20T12:00:00Z' });
    expect(last).not.toContain('comparing all rows');
    expect((await ledgerStates(setup.db)).at(-1)).toBe('events_6 dropped');
    await expectNothingLost(setup, rows);
  });

  it('between copy and detach: a row that was changed is archived anew', async () => {
    const first = await setup.run(['archive', 'run', '--until', 'verified'], now);
    expect(first.code, first.stderr).toBe(0);
    await nextEpoch();
    await setup.db.query("update events_6 set note = 'after' where id = 6002");
    const rows = copyOf(setup.db, 'events');
    await runs(setup, now);
    await runs(setup, later);
    expect((await ledgerStates(setup.db)).at(-1)).toBe('events_6 dropped');
    await expectNothingLost(setup, rows);
  });
});

describe('a physical clone that writes to the same store', () => {
  const clones: Server[] = [];

  afterEach(async () => {
    for (const clone of clones.splice(0)) await clone.stop({ immediate: true });
  });

  /** A server of the same identity and with the same ledger, configured for the same store. */
  async function makeClone(): Promise<Setup> {
    await server.restart({
      whileStopped: async () => {
        clones.push(
          await startServer({ binDir: server.binDir, copyOf: server.dataDir, settings: privateSettings }),
        );
      },
    });
    const clone = archiveSetup(ownDatabase(clones[0]!));
    clone.configure(archiveYaml(setup.store));
    return { ...clone, store: setup.store };
  }

  /** Every file that was there is there, with its bytes. */
  function remember(): () => void {
    const contents = () =>
      new Map(
        filesIn(setup.store).map((name) => [name, fs.readFileSync(path.join(setup.store, name), 'base64')]),
      );
    const before = contents();
    return () => {
      const after = contents();
      for (const [name, bytes] of before)
        expect(after.get(name) === bytes, `${name} is as it was`).toBe(true);
    };
  }

  it('each archives what it has, and takes nothing from the other', async () => {
    const clone = await makeClone();
    await clone.db.query("update events set note = 'of the clone' where id = 6001");
    const own = copyOf(setup.db, 'events');
    const others = copyOf(clone.db, 'events');
    await runs(setup, now);
    const unchanged = remember();
    await runs(clone, now);
    unchanged();
    expect(manifestsIn(setup.store)).toHaveLength(2);
    const whole = remember();
    await runs(setup, later);
    await runs(clone, later);
    whole();
    expect(await ledgerStates(setup.db)).toEqual(['events_6 dropped']);
    expect(await ledgerStates(clone.db)).toEqual(['events_6 dropped']);
    await expectNothingLost(setup, own);
    await expectNothingLost(clone, others);
  });

  it('made when the archive was verified: what it changes is archived beside it, and the original drops', async () => {
    const first = await setup.run(['archive', 'run', '--until', 'verified'], now);
    expect(first.code, first.stderr).toBe(0);
    const own = copyOf(setup.db, 'events');
    const [original] = manifestsIn(setup.store);
    const clone = await makeClone();
    await clone.db.query("insert into events values (6999, '2026-06-30', 'of the clone')");
    const others = copyOf(clone.db, 'events');
    const unchanged = remember();
    await runs(clone, now);
    await runs(clone, later);
    unchanged();
    expect(linesOf(original!.folder)).toHaveLength(20);
    await runs(setup, now);
    await runs(setup, later);
    unchanged();
    expect((await ledgerStates(setup.db)).at(-1)).toBe('events_6 dropped');
    expect((await ledgerStates(clone.db)).at(-1)).toBe('events_6 dropped');
    await expectNothingLost(setup, own);
    await expectNothingLost(clone, others);
  });

  it('made while a run was copying: neither takes up nor removes what the other finishes', async () => {
    const own = copyOf(setup.db, 'events');
    const programs = await heldPrograms(setup.dir);
    programs.hold('decompress');
    const running = setup.spawn(['archive', 'run'], { ...now, ...programs.env });
    await programs.started('decompress');
    const clone = await makeClone();
    expect(await archiveStates(clone.db)).toMatchObject([{ state: 'exporting' }]);
    programs.release('decompress');
    await running.done;
    await untilProgramsEnd(programs);
    await runs(setup, now);
    const unchanged = remember();
    await runs(clone, now);
    unchanged();
    await runs(setup, later);
    await runs(clone, later);
    unchanged();
    for (const side of [setup, clone]) {
      expect((await ledgerStates(side.db)).at(-1)).toBe('events_6 dropped');
      await expectNothingLost(side, own);
    }
  });
});
