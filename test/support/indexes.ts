// Indexes in the states that failures leave them in.
import { defaultSettings, splitTable, type Settings } from '../../src/config/settings.ts';
import type { IndexSpec } from '../../src/indexes/spec.ts';
import type { JobContext } from '../../src/partition/context.ts';
import { connect } from '../../src/pg/connection.ts';
import { openSession, type TestDatabase } from './database.ts';
import { jobOf } from './job.ts';

/** Leaves an invalid index, as a CREATE INDEX CONCURRENTLY does that was cancelled while it waited for a writer. */
export async function leaveInvalid(db: TestDatabase, name: string, on: string, unique = ''): Promise<void> {
  const table = on.slice(0, on.indexOf(' '));
  const writer = await openSession(db.url);
  await writer.begin();
  await writer.query(`lock table ${table} in row exclusive mode`);
  const builder = await openSession(db.url);
  await builder.query("set lock_timeout = '50ms'");
  await builder
    .query(`create ${unique} index concurrently ${name} on ${on}`)
    .then(() => Promise.reject(new Error('the index was built')))
    .catch((error: unknown) => {
      if (!String(error).includes('lock timeout')) throw error;
    });
  await writer.end();
  await builder.end();
}

/** Does the work of a command on a database, in a session of its own. */
export async function asJob<T>(
  db: Pick<TestDatabase, 'url'>,
  work: (context: JobContext) => Promise<T>,
  { settings = {}, signal }: { settings?: Partial<Settings>; signal?: AbortSignal } = {},
): Promise<T> {
  const base = await defaultSettings({ url: db.url });
  const session = await connect(
    { ...base.connection, applicationName: 'dbops index' },
    signal === undefined ? {} : { signal },
  );
  try {
    const { context } = jobOf('index', session, { ...base, ...settings }, session.server.now, {});
    return await work(signal === undefined ? context : { ...context, signal });
  } finally {
    await session.close();
  }
}

/** A plain index on these columns, unless something else is said. */
export function wanted(table: string, columns: string[], more: Partial<IndexSpec> = {}): IndexSpec {
  return { table: splitTable(table), columns, include: [], unique: false, method: 'btree', ...more };
}
