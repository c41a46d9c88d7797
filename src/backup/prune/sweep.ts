import { holdName } from '../../catalogue/hold.ts';
import { ours } from '../../catalogue/stored.ts';
import type { BackupRow } from '../../sql/backups.ts';
import { storeKey } from '../../storage/key.ts';
import type { Store } from '../../storage/store.ts';
import { abandonedAfterMs, abandonedUploads } from '../../storage/sweep.ts';
import { partsOfBackupPlace } from '../catalogue/survey.ts';
import type { PruneContext, PruneFacts } from './gather.ts';
import type { BackupPrunePlan } from './plan.ts';

/** Runs that stand as running though nobody makes a backup, and of which no store has a folder. */
export function endedOf({ rows, survey, isMaking, lease }: PruneFacts): BackupRow[] {
  if (isMaking || lease !== undefined || survey.failed.length > 0) return [];
  const found = new Set([...survey.backups, ...survey.remains].map((item) => item.id));
  return rows.filter((row) => row.state === 'running' && !found.has(row.id));
}

/** Folders without a manifest in any store, and uploads without an end, in which nothing was written for a day: added to the plan. */
export async function planSweep(context: PruneContext, plan: BackupPrunePlan): Promise<void> {
  const { facts, stores, notes } = plan;
  const { now, signal, db } = context;
  const before = new Date(now.getTime() - abandonedAfterMs);
  const running = facts.rows.filter((row) => row.state === 'running' && facts.isMaking);
  // The manifest of what has none here may lie in a store that cannot be asked.
  const remains = facts.survey.failed.length > 0 ? [] : facts.survey.remains;
  for (const copy of remains.flatMap((item) => item.copies)) {
    if (!stores.includes(copy.store) || running.some((row) => row.id === copy.id)) continue;
    // Of a backup that is made from elsewhere the ledger at hand may know nothing.
    if (isOfCluster(copy.place) && facts.lease !== undefined) continue;
    const row = facts.rows.find((item) => item.id === copy.id);
    try {
      const verdict = await verdictOn(copy, row, before, signal);
      if (verdict === 'remains') plan.remains.push({ ...copy, row });
      else if (verdict !== 'kept') notes.push(verdict);
    } catch (error) {
      notes.push(`store "${copy.store.name}" was not swept: ${ours(error).message}`);
    }
  }
  const scopes = [storeKey('cluster'), storeKey('database', db.server.database)];
  for (const store of stores) {
    for (const scope of scopes) {
      const prefix = `${storeKey(facts.systemIdentifier, 'backup')}/${scope}/`;
      try {
        for (const upload of await abandonedUploads(store, prefix, before))
          if (!running.some((row) => upload.key.startsWith(row.place)) && facts.lease === undefined)
            plan.uploads.push({ store, upload });
      } catch (error) {
        notes.push(`store "${store.name}" was not swept: ${ours(error).message}`);
      }
    }
  }
}

/** remains, kept, or why it is kept though it has no manifest. */
async function verdictOn(
  copy: { store: Store; place: string; id: string },
  row: BackupRow | undefined,
  before: Date,
  signal: AbortSignal,
): Promise<'remains' | 'kept' | (string & {})> {
  const where = `backup ${copy.id} in store "${copy.store.name}"`;
  if (row?.state === 'done')
    return `${where} has lost its manifest; its files are kept: dbops backup show ${copy.id}`;
  const isBegun = row?.state === 'removed';
  for await (const object of copy.store.list(copy.place, { signal })) {
    if (object.key === `${copy.place}${holdName}`) return `${where} has no manifest, and is held`;
    if (!isBegun && object.modifiedAt >= before) return 'kept';
  }
  if (isBegun) return 'remains';
  // A large file shows in no listing before it is whole.
  for await (const upload of copy.store.listUploads(copy.place))
    if (upload.startedAt >= before) return 'kept';
  return 'remains';
}

/** Whether a place is that of a backup of the whole cluster. */
export function isOfCluster(place: string): boolean {
  return partsOfBackupPlace(place).database === null;
}
