// What other sessions, and the settings of a role, do to a run that takes its time.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  archiveSetup,
  copyOf,
  expectNothingLost,
  expectTrueLedger,
  heldPrograms,
  later,
  ledgerStates,
  makeTable,
  now,
  startAfresh,
  type Setup,
} from '../support/archive-run.ts';
import { createDatabase, openSession, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
let setup: Setup;

beforeAll(async () => {
  db = await createDatabase('archive_sessions');
  setup = archiveSetup(db);
});
afterAll(() => db.drop());

beforeEach(async () => {
  await startAfresh(setup);
  await makeTable(db);
});

/** Transactions that write to a table one after the other, so that it is hardly ever free of locks. */
async function busyWriters(table: string): Promise<{ stop: () => Promise<void> }> {
  const sessions = await Promise.all([1, 2, 3].map(() => openSession(db.url)));
  let isGoing = true;
  const cycles = sessions.map(async (session, index) => {
    await sleep(index * 20);
    while (isGoing) {
      await session.query(
        `begin; insert into ${table} select coalesce(max(id), 0) + 1 from ${table} on conflict do nothing`,
      );
      await sleep(50);
      await session.query('commit');
      await sleep(20);
    }
  });
  return {
    stop: async () => {
      isGoing = false;
      await Promise.all(cycles);
      await Promise.all(sessions.map((session) => session.end()));
    },
  };
}

interface Event {
  event?: string;
  msg?: string;
  message?: string;
}

const eventsOf = (stderr: string) =>
  stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Event);

describe('a foreign key of the detached partition to a busy table', () => {
  it('goes before the drop, which then reads the table once', async () => {
    await db.query('create table kinds (id int8 primary key)');
    await db.query('insert into kinds select distinct id from events');
    await db.query('alter table events add constraint of_kind foreign key (id) references kinds');
    const rows = copyOf(db, 'events');
    const first = await setup.run(['archive', 'run'], now);
    expect(first.code, first.stderr).toBe(0);
    const keys = `select conname from pg_constraint where contype = 'f' and conrelid = 'events_6'::regclass`;
    expect(await db.query(keys)).toHaveLength(1);
    const writers = await busyWriters('kinds');
    const last = await setup
      .run(['archive', 'run', '-v', '--log-format', 'json'], later)
      .finally(writers.stop);
    expect(last.code, last.stderr).toBe(0);
    const events = eventsOf(last.stderr);
    const names = events.map(({ event }) => event);
    expect(names.filter((name) => name === 'foreign_key_dropped')).toHaveLength(1);
    expect(names.filter((name) => name === 'archive_proven')).toHaveLength(1);
    expect(names.indexOf('foreign_key_dropped')).toBeLessThan(names.indexOf('partition_dropped'));
    // Whatever had to be tried again was the key, which reads nothing.
    for (const event of events.filter((item) => item.event === 'lock_retry' || item.event === 'lock_wait'))
      expect(JSON.stringify(event)).toContain('drop foreign key of_kind');
    expect(await ledgerStates(db)).toEqual(['events_6 dropped']);
    await expectNothingLost(setup, rows);
    await expectTrueLedger(setup);
  });
});

describe('a role whose idle sessions are ended', () => {
  it('archives all the same, however long a gentle copy takes', async () => {
    const role = `archive_idle_${db.name.slice(-10)}`;
    await db.query(`create role ${role} login superuser`);
    await db.query(
      `alter role ${role} set idle_session_timeout = '2s'; alter role ${role} set idle_in_transaction_session_timeout = '2s'`,
    );
    const url = new URL(db.url);
    url.username = role;
    const programs = await heldPrograms(setup.dir);
    const rows = copyOf(db, 'events');
    try {
      programs.hold('compress');
      const running = setup.spawn(['archive', 'run', '--gentle'], {
        ...now,
        ...programs.env,
        DATABASE_URL: url.href,
      });
      await programs.started('compress');
      await sleep(3500);
      programs.hold('decompress');
      programs.release('compress');
      await programs.started('decompress');
      await sleep(3500);
      programs.release('decompress');
      const { code, stderr } = await running.done;
      expect(code, stderr).toBe(0);
      expect(await ledgerStates(db)).toEqual(['events_6 detached']);
      await expectTrueLedger(setup);
      const last = await setup.run(['archive', 'run'], { ...later, DATABASE_URL: url.href });
      expect(last.code, last.stderr).toBe(0);
      expect(await ledgerStates(db)).toEqual(['events_6 dropped']);
      await expectNothingLost(setup, rows);
    } finally {
      await db.query(`drop owned by ${role} cascade`).catch(() => undefined);
    }
  });
});
