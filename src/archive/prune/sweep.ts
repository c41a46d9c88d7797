import type { ArchiveRow } from '../../sql/archives.ts';
import { getServerIdentity } from '../../sql/export.ts';
import type { Store, UnfinishedUpload } from '../../storage/store.ts';
import { abandonedAfterMs, abandonedUploads } from '../../storage/sweep.ts';
import { holdName } from '../../catalogue/hold.ts';
import { ours, type Folder } from '../../catalogue/stored.ts';
import { archiveFolders } from '../catalogue.ts';
import { inParallel } from '../../process/parallel.ts';
import { databasePrefix } from '../place.ts';
import { ownPlaces, partsOfPlace } from '../survey.ts';
import type { PruneContext } from './plan.ts';
import { manifestName } from '../../storage/copies.ts';

/** What killed runs left in the stores. */
export interface SweepPlan {
  /** Folders without a manifest: no archives. */
  remains: Folder[];
  uploads: { store: Store; upload: UnfinishedUpload }[];
  /** Of all archives of this database that lie in the stores. */
  ids: string[];
  notes: string[];
}

/**
 * Looks for folders without a manifest in which nothing was written for a day and that the ledger does not count on, and
 * for uploads that were begun a day ago. Only those of this cluster and database. A store that fails is told.
 */
export async function planSweep(context: PruneContext, rows: ArchiveRow[]): Promise<SweepPlan> {
  const { db, settings, now, signal } = context;
  const plan: SweepPlan = { remains: [], uploads: [], ids: [], notes: [] };
  const { systemIdentifier } = await getServerIdentity(db);
  const isOwn = await ownPlaces(db);
  const before = new Date(now.getTime() - abandonedAfterMs);
  const byId = new Map(rows.map((row) => [row.id, row]));
  for (const { name } of settings.stores) {
    try {
      const store = await context.openStore(name);
      const folders: Folder[] = [];
      for await (const folder of archiveFolders(store, signal))
        if (isOwn(partsOfPlace(folder.place))) folders.push(folder);
      plan.ids.push(...folders.map((folder) => folder.id));
      const looked = await inParallel(settings.archive.jobs * 4, folders, signal, async (folder, own) => ({
        folder,
        verdict: await verdictOn(folder, byId.get(folder.id), before, own),
      }));
      for (const { folder, verdict } of looked) {
        if (verdict === 'remains') plan.remains.push(folder);
        else if (verdict !== 'kept') plan.notes.push(verdict);
      }
      const prefix = databasePrefix(systemIdentifier, db.server.database);
      for (const upload of await abandonedUploads(store, prefix, before))
        plan.uploads.push({ store, upload });
    } catch (error) {
      plan.notes.push(`store "${name}" was not swept: ${ours(error).message}`);
    }
  }
  return plan;
}

/** remains, kept, or why it is kept though it has no manifest. */
async function verdictOn(
  folder: Folder,
  row: ArchiveRow | undefined,
  before: Date,
  signal: AbortSignal,
): Promise<'remains' | 'kept' | (string & {})> {
  const { store, place, id } = folder;
  if ((await store.head(`${place}${manifestName}`, { signal })) !== undefined) return 'kept';
  const where = `archive ${id} in store "${store.name}"`;
  // An interrupted export is removed by the next run, an interrupted removal by this one.
  if (row?.state === 'exporting' || (row?.state === 'expired' && row.stores.includes(store.name)))
    return 'kept';
  if (row !== undefined && row.state !== 'failed' && row.stores.includes(store.name))
    return `${where} has lost its manifest; its parts are kept: dbops archive verify ${id}`;
  for await (const object of store.list(place, { signal })) {
    if (object.key === `${place}${holdName}`) return `${where} has no manifest, and is held`;
    if (object.modifiedAt >= before) return 'kept';
  }
  return 'remains';
}
