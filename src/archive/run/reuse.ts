import { proofLevels } from '../../config/schema.ts';
import { DbopsError } from '../../errors.ts';
import { sqlStateOf } from '../../pg/sqlstate.ts';
import { recordArchiveState } from '../../sql/archives.ts';
import { changedState } from '../../sql/export.ts';
import type { ArchiveContext } from '../context.ts';
import type { Manifest } from '../manifest.ts';
import { isOfBounds, type PlannedArchive } from './plan.ts';
import { proofOf, proofStep, type Proof } from './prove.ts';
import { goodStores } from './retire.ts';

/** An archive that an earlier run came to verify: taken when it is whole in its stores and the rows look untouched. */
export async function madeBefore(context: ArchiveContext, item: PlannedArchive): Promise<Proof | undefined> {
  const { db, settings } = context;
  const row = item.made;
  if (row === undefined) return undefined;
  const { stores, manifest, isUncertain, problems } = await goodStores(context, row);
  const isEnough = manifest !== undefined && stores.length >= item.set.settings.archive.required;
  if (!isEnough && isUncertain) {
    throw new DbopsError('store_failed', `archive ${row.id} of ${item.label} cannot be looked at`, {
      detail: problems.join('\n'),
      hint: 'It was read back by an earlier run and is not made anew while its store does not answer.',
    });
  }
  if (isEnough && isOfBounds(row, item) && isAsConfigured(manifest, item)) {
    const proof = proofOf(item.partition, row, { manifest, stores });
    if (await looksUnchanged(context, proof)) return proof;
  }
  await recordArchiveState(
    db,
    settings.stateSchema,
    row.id,
    'superseded',
    'changed, not as configured now, or not whole in its stores',
  );
  return undefined;
}

/** Masked as the configuration says today, and proven as deeply at least. */
function isAsConfigured(manifest: Manifest, item: PlannedArchive): boolean {
  const { mask, verify } = item.set.settings.archive;
  const isMaskedSo =
    manifest.masked.length === Object.keys(mask).length &&
    manifest.masked.every(({ column, expression }) => mask[column] === expression);
  return isMaskedSo && proofLevels.indexOf(manifest.proof) >= proofLevels.indexOf(verify);
}

/** Without a lock, and therefore no proof: only whether it is worth detaching, or must be copied anew at once. */
async function looksUnchanged(context: ArchiveContext, proof: Proof): Promise<boolean> {
  try {
    await context.db.execute((await proofStep(context, proof)).sql);
    return true;
  } catch (error) {
    if (sqlStateOf(error) === changedState) return false;
    throw error;
  }
}
