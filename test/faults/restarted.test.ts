// The server restarts in every state of an archive run, at once and without a shutdown of its sessions.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import {
  archiveSetup,
  copyOf,
  expectNothingLost,
  expectToFinish,
  expectTrueLedger,
  heldPrograms,
  later,
  ledgerStates,
  makeTable,
  now,
  startAfresh,
  untilProgramsEnd,
  untilSessionsEnd,
  type Programs,
  type Setup,
} from '../support/archive-run.ts';
import { runStates } from '../support/archive-states.ts';
import { openSession, ownDatabase, startPrivateServer } from '../support/database.ts';

let server: Server;
let setup: Setup;
let programs: Programs;
let rows: string[];

beforeAll(async () => {
  server = await startPrivateServer();
});
afterAll(() => server.stop({ immediate: true }));

beforeEach(async () => {
  setup = archiveSetup(ownDatabase(server));
  programs = await heldPrograms(setup.dir);
  await startAfresh(setup);
  await makeTable(setup.db);
  rows = copyOf(setup.db, 'events');
});

/** As after the loss of power: no session may finish anything, and the start recovers from the log. */
async function crash(): Promise<void> {
  process.kill(server.pid, 'SIGQUIT');
  await server.restart();
}

describe('the server restarts', () => {
  for (const state of runStates) {
    it(state.name, async () => {
      const { running, release } = await state.reach(setup, programs);
      await crash();
      await release();
      const { code, stderr } = await running.done;
      // The store or a program may be what the run was waiting for, and then says so first.
      expect([3, 4, 5, 7], stderr).toContain(code);
      await untilProgramsEnd(programs);
      await untilSessionsEnd(setup.db);
      await expectNothingLost(setup, rows);
      await expectToFinish(setup, rows);
    });
  }

  it('while it drops', async () => {
    expect((await setup.run(['archive', 'run'], now)).code).toBe(0);
    const reader = await openSession(server.url);
    await reader.begin();
    await reader.query('lock table only events_6 in access share mode');
    const running = setup.spawn(['archive', 'run', '-v'], later);
    await running.waitFor(/drop public\.events_6.*trying again/);
    await crash();
    const { code, stderr } = await running.done;
    expect([3, 5], stderr).toContain(code);
    await expectNothingLost(setup, rows);
    const last = await setup.run(['archive', 'run'], later);
    expect(last.code, last.stderr).toBe(0);
    expect(await ledgerStates(setup.db)).toEqual(['events_6 dropped']);
    await expectTrueLedger(setup);
    await expectNothingLost(setup, rows);
  });
});
