import { DbopsError } from '../../errors.ts';
import type { Log } from '../../output/log.ts';
import { setOfParent, type PartitionSet } from '../../partition/model/set.ts';
import { recordStores, type ArchiveRow } from '../../sql/archives.ts';
import { displayName, relation } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import type { ArchiveContext } from '../context.ts';
import { findHold, holdHistory, putHold } from '../../catalogue/hold.ts';
import { partitionOf, tableOf } from '../list/lines.ts';
import type { Manifest } from '../manifest.ts';
import { ours } from '../../catalogue/stored.ts';
import { objectsOf } from '../verify/verify.ts';
import { goodStores } from './retire.ts';
import { hashOf } from '../../storage/read.ts';
import { copyObject, manifestName } from '../../storage/copies.ts';

/** An archive that is proven in fewer stores than are configured. */
export interface PlannedCopies {
  archive: ArchiveRow;
  /** Names of the stores that lack it. */
  missing: string[];
  /** In how many stores it has to be. */
  required: number;
}

/** The archives of these sets that lack a configured copy. Pure. */
export function planCopies(sets: PartitionSet[], rows: ArchiveRow[]): PlannedCopies[] {
  return rows.flatMap((archive) => {
    if (archive.state !== 'verified' && archive.state !== 'proven') return [];
    const set = setOfParent(sets, relation(tableOf(archive)));
    if (set === undefined) return [];
    const { copies, required } = set.settings.archive;
    const missing = copies.filter((name) => !archive.stores.includes(name));
    return missing.length === 0 ? [] : [{ archive, missing, required }];
  });
}

/**
 * Gives an archive the copies that it lacks, from one that is whole; each object is read back, and the manifest comes
 * last. A store that fails is told; throws what it said only when the archive is in fewer stores than it has to be.
 */
export async function completeCopies(context: ArchiveContext, item: PlannedCopies): Promise<string[]> {
  const { db, settings, log, signal } = context;
  const { archive } = item;
  const { stores, manifest, problems } = await goodStores(context, archive);
  const [from] = stores;
  if (from === undefined || manifest === undefined) {
    throw new DbopsError('copy_damaged', `archive ${archive.id} is whole in none of its stores`, {
      detail: problems.join('\n'),
      hint: `Look at it: dbops archive verify ${archive.id}`,
    });
  }
  const made: string[] = [];
  let failure: DbopsError | undefined;
  for (const name of item.missing) {
    try {
      const to = await context.openStore(name);
      await copyArchive({ from, to, place: archive.place, manifest }, signal);
      made.push(name);
      // What the ledger has is what was proven once: a copy that is damaged now is a matter of verify.
      await recordStores(db, settings.stateSchema, archive.id, [...archive.stores, ...made]);
      context.applied.changes += 1;
      tellDone(log, archive, name);
    } catch (error) {
      failure ??= ours(error);
      log.warn(
        { event: 'archive_copy_failed', archive: archive.id, store: name },
        `archive ${archive.id} has no copy in "${name}" still: ${ours(error).message}`,
      );
    }
  }
  if (failure !== undefined && archive.stores.length + made.length < item.required) throw failure;
  return made;
}

function tellDone(log: Log, archive: ArchiveRow, store: string): void {
  log.info(
    { event: 'archive_copied', archive: archive.id, store },
    `copied archive ${archive.id} of ${displayName(partitionOf(archive))} to ${store}, and read it back`,
  );
}

interface CopyJob {
  from: Store;
  to: Store;
  place: string;
  manifest: Manifest;
}

async function copyArchive({ from, to, place, manifest }: CopyJob, signal: AbortSignal): Promise<void> {
  for (const object of objectsOf(manifest)) {
    const key = `${place}${object.name}`;
    if (!(await isThere(to, key, object, signal))) await copyObject(from, to, key, object, signal);
  }
  // A hold is on all copies, and comes before the copy counts as one.
  const hold = await findHold(from, place, signal);
  if (hold !== undefined) {
    await putHold(
      to,
      place,
      { archive: manifest.id },
      (await holdHistory(from, place, signal)).at(-1) ?? hold,
    );
  }
  // Letter by letter: a newer dbops may have written more than this one reads.
  const key = `${place}${manifestName}`;
  await copyObject(from, to, key, await hashOf(from, key, signal), signal);
}

/** What an interrupted run copied already need not be sent again, when its bytes are right. */
async function isThere(
  store: Store,
  key: string,
  expected: { sizeBytes: number; sha256: string },
  signal: AbortSignal,
): Promise<boolean> {
  const found = await store.head(key, { signal });
  if (found?.sizeBytes !== expected.sizeBytes) return false;
  return (await hashOf(store, key, signal)).sha256 === expected.sha256;
}
