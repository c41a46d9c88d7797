import { setTimeout as sleep } from 'node:timers/promises';
import { DbopsError } from '../errors.ts';
import type { Db } from './connection.ts';

/** "dbop" in ASCII: the class under which all our advisory locks stand in pg_locks.classid. */
const lockClass = 0x64626f70;

/** One number a job; a table's lock takes the table's oid, and oids below 16384 are the system's own. */
const jobNumbers = {
  ensure: 1,
  retention: 2,
  state: 3,
  archive: 4,
  backup: 5,
  drill: 6,
  prune: 7,
  maintenance: 8,
} as const;
const jobCommands: Partial<Record<string, string>> = {
  archive: '"archive run"',
  backup: '"backup create"',
  drill: '"backup drill"',
  prune: '"backup prune"',
  maintenance: '"maintenance"',
};
export type LockName = keyof typeof jobNumbers | { table: number; name: string } | { scheduled: string };

/** "dbos": jobs of a schedule have names, not numbers, and must not meet the oid of a table. */
const scheduledClass = 0x64626f73;

interface HolderRow {
  pid: number;
  application: string;
  user: string;
  client: string | null;
  since: Date;
}

/**
 * Runs `work` while this session holds the advisory lock, polling for at most `waitMs` (0: one try). It is polled,
 * never waited for in the queue: a blocking pg_advisory_lock holds a snapshot and deadlocks with CREATE INDEX
 * CONCURRENTLY. The work is told whether it was waited for. Throws lock_busy with the holder. Needs a session of its own: not behind transaction pooling.
 */
export async function withAdvisoryLock<T>(
  db: Db,
  name: LockName,
  options: { waitMs: number; signal?: AbortSignal | undefined },
  work: (waited: boolean) => Promise<T>,
): Promise<T> {
  const key = keyOf(name);
  const deadline = performance.now() + options.waitMs;
  let waited = false;
  while (!(await tryLock(db, key))) {
    waited = true;
    if (performance.now() >= deadline) throw await busy(db, key, name);
    await sleep(Math.min(100 + Math.random() * 200, Math.max(deadline - performance.now(), 1)), undefined, {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    }).catch(() => undefined);
  }
  try {
    return await work(waited);
  } finally {
    await db
      .query({
        text: '/* dbops:locks.release */ select pg_catalog.pg_advisory_unlock($1, $2)',
        values: key,
      })
      .catch(() => undefined);
  }
}

/** The two numbers of a lock. */
type Key = [group: number, key: number];

function keyOf(name: LockName): Key {
  if (typeof name === 'string') return [lockClass, jobNumbers[name]];
  if ('table' in name) return [lockClass, toInt4(name.table)];
  // FNV-1a: two names that share a number only exclude each other.
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name.scheduled)) hash = Math.imul(hash ^ byte, 0x01000193);
  return [scheduledClass, hash | 0];
}

/** oids are unsigned, the lock's key is signed. */
function toInt4(oid: number): number {
  return oid | 0;
}

async function tryLock(db: Db, key: Key): Promise<boolean> {
  const [row] = await db.query<{ locked: boolean }>({
    text: '/* dbops:locks.try */ select pg_catalog.pg_try_advisory_lock($1, $2) as locked',
    values: key,
  });
  return row?.locked === true;
}

/**
 * Takes a table's lock for the transaction that is open, once, sets what holds in it, and says whether the lock was free.
 * A session that holds the lock gets it again; one that has lost it (its pooler gave it another backend) does not, when
 * another run has it. One message for both: it is sent before each batch.
 */
export async function tryTableLockInTransaction(
  db: Db,
  tableOid: number,
  settings: Record<string, string>,
): Promise<boolean> {
  const set = Object.keys(settings).map(
    (_, index) => `pg_catalog.set_config($${String(index * 2 + 3)}, $${String(index * 2 + 4)}, true)`,
  );
  const [row] = await db.query<{ locked: boolean }>({
    text: `/* dbops:locks.try-in-transaction */
      select ${['pg_catalog.pg_try_advisory_xact_lock($1, $2) as locked', ...set].join(', ')}`,
    values: [lockClass, toInt4(tableOid), ...Object.entries(settings).flat()],
  });
  return row?.locked === true;
}

/** Which of these tables another session of dbops works on at the moment. */
export async function listLockedTables(db: Db, tableOids: number[]): Promise<number[]> {
  const rows = await db.query<{ oid: number }>({
    text: `/* dbops:locks.tables */
      select l.objid::int8::float8 as oid from pg_catalog.pg_locks as l
       where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = $1::oid
         and l.database = (select d.oid from pg_catalog.pg_database as d
                            where d.datname = pg_catalog.current_database())
         and l.pid <> pg_catalog.pg_backend_pid() and l.objid = any ($2::oid[])`,
    values: [lockClass, tableOids],
  });
  return rows.map((row) => row.oid);
}

/** Whether another session of this database holds the lock of a job at the moment. */
export async function isJobRunning(db: Db, name: keyof typeof jobNumbers): Promise<boolean> {
  const [row] = await db.query<{ held: boolean }>({
    text: `/* dbops:locks.running */
      select exists (
        select from pg_catalog.pg_locks as l
         where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = $1::oid
           and l.objid = $2::oid and l.pid <> pg_catalog.pg_backend_pid()
           and l.database = (select d.oid from pg_catalog.pg_database as d
                              where d.datname = pg_catalog.current_database())) as held`,
    values: [lockClass, jobNumbers[name]],
  });
  return row?.held === true;
}

async function busy(db: Db, key: Key, name: LockName): Promise<DbopsError> {
  const what = described(name);
  const [holder] = await db.query<HolderRow>({
    text: `/* dbops:locks.holder */
      select l.pid, coalesce(a.application_name, '') as application, coalesce(a.usename::text, '') as "user",
             a.client_addr::text as client, coalesce(a.backend_start, pg_catalog.now()) as since
        from pg_catalog.pg_locks as l
        left join pg_catalog.pg_stat_activity as a on a.pid = l.pid
       where l.locktype = 'advisory' and l.granted and l.objsubid = 2
         and l.database = (select d.oid from pg_catalog.pg_database as d
                            where d.datname = pg_catalog.current_database())
         and l.classid = $1::oid and l.objid = pg_catalog.int8(($2::int8 + 4294967296) % 4294967296)::oid`,
    values: key,
  });
  const who =
    holder === undefined
      ? 'another run that has just ended'
      : `pid ${String(holder.pid)} (${holder.application || 'unnamed'}, user ${holder.user}, ` +
        `from ${holder.client ?? 'the local host'}, since ${holder.since.toISOString()})`;
  return new DbopsError('lock_busy', `another dbops run works on ${what}: ${who}`, {
    hint: 'Wait for it to end, or give --wait 60s to wait for it.',
  });
}

function described(name: LockName): string {
  if (typeof name === 'string') return jobCommands[name] ?? `"partition ${name}"`;
  return 'table' in name ? `table ${name.name}` : `the scheduled job "${name.scheduled}"`;
}
