import type { Db } from '../../../pg/connection.ts';
import { visible } from '../../../sql/quote.ts';
import { prove, type Proof } from '../report.ts';
import { lookInto, type Restored } from './restored.ts';

/** The operator's own assertions, each in a read-only transaction; one that returns anything but true has failed. */
export async function proveOwnChecks(restored: Restored, checks: Record<string, string>): Promise<Proof[]> {
  const proofs: Proof[] = [];
  for (const [name, sql] of Object.entries(checks)) {
    proofs.push(
      await prove(`check: ${name}`, () =>
        lookInto(restored, restored.database, async (db) => await assertTrue(db, sql)),
      ),
    );
  }
  return proofs;
}

async function assertTrue(db: Db, sql: string): Promise<Omit<Proof, 'name'>> {
  // In brackets it can only be one statement, of one value.
  const asked = sql.trim().replace(/;$/, '');
  const [row] = await db.transaction(async () => {
    // As an application of this database would see its names; ours are qualified.
    await db.execute('reset search_path');
    return await db.query<{ answer: unknown }>({
      text: `/* dbops:drill.check */ select (${asked}\n) as answer`,
    });
  }, 'repeatable read, read only');
  if (row?.answer === true) return { outcome: 'ok', detail: 'true' };
  const answer = typeof row?.answer === 'bigint' ? String(row.answer) : JSON.stringify(row?.answer);
  return { outcome: 'failed', detail: `it returned ${visible(answer ?? 'nothing')}: ${visible(sql)}` };
}
