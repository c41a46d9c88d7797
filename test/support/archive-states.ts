// Every state in which a run of "archive run" can be held, for tests that kill something then.
import { openSession, waitUntil } from './database.ts';
import { manifestsIn, now, type Programs, type Setup } from './archive-run.ts';
import type { RunningCli } from './cli.ts';

/** A run that is held where it is. */
export interface Held {
  running: RunningCli;
  /** Lets go of what holds it; to be called after the kill. */
  release: () => Promise<void>;
}

export interface RunState {
  name: string;
  /** Starts a run and brings it there. The table is "events", and events_6 is due. */
  reach: (setup: Setup, programs: Programs) => Promise<Held>;
  /** What the next run says of it, where that tells one state from another. */
  nextRun?: RegExp;
}

const args = ['archive', 'run', '-v'];

async function heldAt(
  setup: Setup,
  programs: Programs,
  job: 'psql' | 'compress' | 'decompress',
): Promise<Held> {
  programs.hold(job);
  const running = setup.spawn(args, { ...now, ...programs.env });
  await programs.started(job);
  return {
    running,
    release: () => {
      programs.release(job);
      return Promise.resolve();
    },
  };
}

/** A session that keeps every try for a stronger lock waiting. */
async function locked(setup: Setup, statement: string): Promise<{ release: () => Promise<void> }> {
  const session = await openSession(setup.db.url);
  await session.begin();
  await session.query(statement);
  return { release: () => session.end().catch(() => undefined) };
}

/** A server that waits for a lock does not notice that its client is gone, and would finish the statement alone. */
async function endBackends(setup: Setup, statement: string): Promise<void> {
  const text = `select pg_terminate_backend(pid, 5000) from pg_stat_activity
                 where strpos(query, $1) > 0 and pid <> pg_backend_pid() and datname = current_database()`;
  // The server may be what was killed.
  await setup.db.query(text, [statement]).catch(() => undefined);
}

const whole = (setup: Setup) => manifestsIn(setup.store).length > 0;

/** Two readers of the parent in turn, so that it is never free, and none of them is old. */
async function busyReaders(setup: Setup): Promise<{ stay: () => Promise<() => Promise<void>> }> {
  const sessions = [await openSession(setup.db.url), await openSession(setup.db.url)];
  let isGoing = true;
  const cycle = async (index: number) => {
    const session = sessions[index]!;
    while (isGoing) {
      await session.query('begin');
      await session.query('lock table only events in access share mode');
      await new Promise((resolve) => setTimeout(resolve, 300));
      if (isGoing) await session.query('commit');
    }
  };
  const first = cycle(0).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 150));
  const cycles = [first, cycle(1).catch(() => undefined)];
  return {
    stay: async () => {
      isGoing = false;
      await Promise.all(cycles);
      return async () => {
        await Promise.all(sessions.map((session) => session.end().catch(() => undefined)));
      };
    },
  };
}

export const runStates: RunState[] = [
  { name: 'before the copy', reach: (setup, programs) => heldAt(setup, programs, 'psql') },
  { name: 'while it copies', reach: (setup, programs) => heldAt(setup, programs, 'compress') },
  { name: 'while it reads back', reach: (setup, programs) => heldAt(setup, programs, 'decompress') },
  {
    name: 'when the manifest is written and the ledger does not know it',
    nextRun: /was whole when its run was interrupted, and is taken/,
    reach: async (setup, programs) => {
      const held = await heldAt(setup, programs, 'decompress');
      const lock = await locked(setup, 'lock table dbops.archive in share mode');
      await held.release();
      await waitUntil(() => whole(setup), { what: 'the manifest' });
      return {
        running: held.running,
        release: async () => {
          await endBackends(setup, 'dbops:archives.verified');
          await lock.release();
        },
      };
    },
  },
  {
    name: 'before the detach',
    reach: async (setup, programs) => {
      // A held read-back leaves time to lock what only the detach needs.
      const held = await heldAt(setup, programs, 'decompress');
      const lock = await locked(setup, 'lock table only events_6 in row exclusive mode');
      await held.release();
      await held.running.waitFor(/not begun yet/);
      return { running: held.running, release: lock.release };
    },
  },
  {
    name: 'in the middle of a concurrent detach',
    nextRun: /finish the interrupted detach|mark public\.events_6, whose detach was interrupted/,
    reach: async (setup, programs) => {
      const held = await heldAt(setup, programs, 'decompress');
      const readers = await busyReaders(setup);
      await held.release();
      await waitUntil(
        async () => (await setup.db.query('select from pg_inherits where inhdetachpending')).length === 1,
        { what: 'the detach to begin', timeoutMs: 30_000 },
      );
      const end = await readers.stay();
      return {
        running: held.running,
        release: async () => {
          await endBackends(setup, 'detach partition');
          await end();
        },
      };
    },
  },
  {
    name: 'between the detach and the proof',
    reach: async (setup, programs) => {
      const held = await heldAt(setup, programs, 'decompress');
      const partition = await locked(setup, 'lock table only events_6 in row exclusive mode');
      await held.release();
      await held.running.waitFor(/not begun yet/);
      const ledger = await locked(setup, 'lock table dbops.archive in share mode');
      await partition.release();
      await held.running.waitFor(/detached public\.events_6 from public\.events, marked/);
      return { running: held.running, release: ledger.release };
    },
  },
];
