import { statfs } from 'node:fs/promises';
import type { Settings } from '../config/settings.ts';
import { humanBytes } from '../output/human.ts';
import type { Db } from '../pg/connection.ts';
import { isTransactionPooling } from '../partition/server.ts';
import { isThisHost } from '../process/this-host.ts';
import { getServerTime, grants, type SessionFactsRow } from '../sql/doctor.ts';
import { visible } from '../sql/quote.ts';
import { finding, ok, type Finding } from './finding.ts';

/** What the server is, and what stands between. May open a second session to look for a pooler. */
export async function checkServer(db: Db, settings: Settings, facts: SessionFactsRow): Promise<Finding[]> {
  return [
    ok(
      'server.version',
      `PostgreSQL ${db.server.version}, database "${visible(db.server.database)}", role "${visible(db.server.user)}"${db.server.isSuperuser ? ' (superuser)' : ''}`,
    ),
    checkWritable(db),
    await checkPooler(db),
    await checkClock(db),
    checkTimeZone(db, settings),
    ...checkSettings(facts),
    checkStatistics(db, facts),
    checkState(db, settings, facts),
    await checkDisk(db, facts),
  ];
}

function checkWritable(db: Db): Finding {
  if (db.server.isStandby) {
    return finding(
      'server.writable',
      'crit',
      'this is a standby: nothing can be changed',
      'Connect to the primary.',
    );
  }
  if (db.server.isReadOnly) {
    return finding(
      'server.writable',
      'crit',
      'sessions are read-only: default_transaction_read_only is on',
      `Take it off the server, the database or the role: alter role ... reset default_transaction_read_only.`,
    );
  }
  return ok('server.writable', 'a primary that takes changes');
}

async function checkPooler(db: Db): Promise<Finding> {
  if (!db.server.isPooled) return ok('server.pooler', 'no pooler in between');
  if (!(await isTransactionPooling(db))) return ok('server.pooler', 'a pooler in session mode in between');
  return finding(
    'server.pooler',
    'crit',
    'a pooler in transaction mode stands in between: changing commands are refused',
    'Connect to the server itself (for PgBouncer: its own port instead of 6432), or to a pool in session mode.',
  );
}

const clockToleranceMs = 2000;

/** The server's clock against the host's, in the middle of the round trip; half of that is what is not known. */
async function checkClock(db: Db): Promise<Finding> {
  const before = Date.now();
  const server = await getServerTime(db);
  return judgeClock(before, server.getTime(), Date.now());
}

/** All in milliseconds since 1970. Pure. */
export function judgeClock(beforeMs: number, serverMs: number, afterMs: number): Finding {
  const differenceMs = serverMs - (beforeMs + afterMs) / 2;
  const uncertaintyMs = (afterMs - beforeMs) / 2;
  const side = differenceMs > 0 ? 'ahead of' : 'behind';
  const shown = `${(Math.abs(differenceMs) / 1000).toFixed(1)} s ${side} this host (give or take ${(uncertaintyMs / 1000).toFixed(1)} s)`;
  if (Math.abs(differenceMs) - uncertaintyMs <= clockToleranceMs)
    return ok('server.clock', `the server's clock is ${shown}`);
  return finding(
    'server.clock',
    'warn',
    `the server's clock is ${shown}`,
    'Run an NTP client on both. dbops goes by the clock of the server.',
  );
}

function checkTimeZone(db: Db, settings: Settings): Finding {
  const server = visible(db.server.timezone);
  const zones = [...new Set(settings.partitions.map((item) => item.timezone))];
  if (zones.length === 0 || zones.includes(db.server.timezone) || (isUtc(server) && zones.every(isUtc))) {
    return ok('server.timezone', `the server's TimeZone is ${server}`);
  }
  return finding(
    'server.timezone',
    'warn',
    `the server's TimeZone is ${server}, periods begin at midnight in ${zones.join(', ')}`,
    'dbops goes by "timezone" of the configuration alone. Set it to the zone in which people read the days.',
  );
}

function isUtc(zone: string): boolean {
  return ['utc', 'etc/utc', 'gmt', 'etc/gmt', 'zulu'].includes(zone.toLowerCase());
}

function checkSettings(facts: SessionFactsRow): Finding[] {
  const locks = facts.maxLocksPerTransaction;
  return [
    locks >= 64
      ? ok('server.max_locks_per_transaction', `max_locks_per_transaction is ${String(locks)}`)
      : finding(
          'server.max_locks_per_transaction',
          'warn',
          `max_locks_per_transaction is ${String(locks)}: queries over many partitions run out of shared memory`,
          `alter system set max_locks_per_transaction = 64; takes a restart.`,
        ),
    ok(
      'server.timeouts',
      `this role starts with lock_timeout ${facts.lockTimeout} ms, statement_timeout ${facts.statementTimeout} ms; dbops sets its own`,
    ),
    facts.walLevel === 'minimal'
      ? finding(
          'server.wal_level',
          'warn',
          'wal_level is minimal: neither base backups nor replicas are possible',
          "alter system set wal_level = 'replica'; takes a restart.",
        )
      : ok('server.wal_level', `wal_level is ${facts.walLevel}`),
  ];
}

function checkStatistics(db: Db, facts: SessionFactsRow): Finding {
  if (facts.mayReadStats) return ok('privilege.statistics', 'may see the sessions of other roles');
  return finding(
    'privilege.statistics',
    'warn',
    'may not see the queries of other roles: who holds a lock is named without what it runs',
    grants.membership('pg_monitor', db.server.user),
  );
}

function checkState(db: Db, settings: Settings, facts: SessionFactsRow): Finding {
  const schema = visible(settings.stateSchema);
  const { user, database } = db.server;
  if (facts.stateExists) {
    return facts.mayUseState
      ? ok('privilege.state', `the schema "${schema}" is there and can be written`)
      : finding(
          'privilege.state',
          'warn',
          `the schema "${schema}" is there, but runs cannot be recorded in it`,
          grants.stateTables(settings.stateSchema, user),
        );
  }
  if (facts.mayCreateSchema)
    return ok('privilege.state', `the schema "${schema}" can be created when it is needed`);
  return finding(
    'privilege.state',
    'warn',
    `the schema "${schema}" is not there and may not be created: runs are not recorded, detach is refused`,
    grants.createOnDatabase(database, user),
  );
}

const lowDisk = 0.1;

/** Only where the server is this host and lets its directory be looked into. */
async function checkDisk(db: Db, facts: SessionFactsRow): Promise<Finding> {
  const unknown = (text: string) => finding('server.disk', 'unknown', `free space is not known: ${text}`);
  const { dataDirectory, serverAddress } = facts;
  if (!(await isThisHost(db.server, serverAddress)))
    return unknown('the server is another host, or in a container');
  if (dataDirectory === null || dataDirectory === '') {
    return unknown('data_directory may not be read (grant pg_read_all_settings)');
  }
  try {
    const space = await statfs(dataDirectory);
    const free = space.bavail * space.bsize;
    const share = space.bavail / space.blocks;
    const text = `${humanBytes(free)} free (${String(Math.round(share * 100))} %) where ${dataDirectory} lies`;
    return share < lowDisk
      ? finding('server.disk', 'warn', text, 'Make room before the disk is full: the server stops then.')
      : ok('server.disk', text);
  } catch {
    return unknown(`this user may not look into ${dataDirectory}, or the server runs elsewhere`);
  }
}
