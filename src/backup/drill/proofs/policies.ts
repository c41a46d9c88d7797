import { DbopsError } from '../../../errors.ts';
import type { Db } from '../../../pg/connection.ts';
import { displayName, visible } from '../../../sql/quote.ts';
import { countAsRole, listPolicySubjects, type PolicySubjectRow } from '../../../sql/row-security.ts';
import { prove, some, type Outcome, type Proof } from '../report.ts';
import { lookInto, type Restored } from './restored.ts';

interface Seen {
  outcome: Outcome;
  detail: string;
}

/**
 * Whether roles see in the restored copy what their policies let through, and nothing else: each table with row level
 * security is counted as a role that it binds, with the security and with the policies as a plain condition.
 */
export async function provePolicies(restored: Restored): Promise<Proof> {
  return await prove('row security', async () =>
    lookInto(restored, restored.database, async (db) => {
      const subjects = await listPolicySubjects(db);
      if (subjects.length === 0)
        return {
          outcome: 'ok',
          detail: `no table of "${visible(restored.database)}" has row level security`,
        };
      const seen: Seen[] = [];
      for (const subject of subjects) seen.push(await look(db, subject));
      const outcome = (['failed', 'unknown'] as const).find((one) =>
        seen.some((item) => item.outcome === one),
      );
      return {
        outcome: outcome ?? 'ok',
        detail: some(seen.filter((item) => item.outcome === (outcome ?? 'ok')).map((item) => item.detail)),
      };
    }),
  );
}

async function look(db: Db, subject: PolicySubjectRow): Promise<Seen> {
  const table = displayName(subject);
  const { role } = subject;
  if (role === null)
    return { outcome: 'unknown', detail: `${table}: no role that its policies bind may read it` };
  try {
    const { isActive, seen, allowed } = await countAsRole(db, { ...subject, role });
    const counts = `${table}: role ${visible(role)} sees ${String(seen)} rows, and its policies allow ${String(allowed)}`;
    return { outcome: isActive && seen === allowed ? 'ok' : 'failed', detail: counts };
  } catch (error) {
    // A policy may need what only the application sets: that says nothing about the restore.
    if (!(error instanceof DbopsError) || error.exitCode !== 4) throw error;
    return { outcome: 'unknown', detail: `${table} as role ${visible(role)}: ${error.message}` };
  }
}
