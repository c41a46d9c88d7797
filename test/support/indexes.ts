// Indexes in the states that failures leave them in.
import { openSession, type TestDatabase } from './database.ts';

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
