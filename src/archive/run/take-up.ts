import { storedBytesOf } from '../manifest.ts';
import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { applyChanges } from '../../plan/apply.ts';
import { recordArchiveState, recordVerified, type ArchiveRow } from '../../sql/archives.ts';
import type { ArchiveContext } from '../context.ts';
import { dropScratch } from '../export/prove-by-restore.ts';
import { planRun, type RunOptions } from './plan.ts';
import { goodStores, retentionWaitMs } from './retire.ts';
import { manifestName, removeRemains } from '../../storage/copies.ts';

/** A detach that is finished leaves a table to be marked, hence planned and applied twice at most. */
const mostRounds = 2;

/**
 * Finishes detaches that were interrupted, and notes in the ledger what is so. Under the advisory lock "retention": what
 * looks interrupted may be a detach that goes on.
 */
export async function finishDetaches(context: ArchiveContext, options: RunOptions): Promise<void> {
  const { db, waitMs, signal, settings, log } = context;
  const wait = { waitMs: Math.max(waitMs, retentionWaitMs), signal };
  await withAdvisoryLock(db, 'retention', wait, async () => {
    for (let round = 1; round <= mostRounds; round += 1) {
      const { leftovers } = await planRun(context, options);
      await applyChanges(db, leftovers, context.applied, {
        log,
        signal,
        deadlineMs: settings.lockDeadlineMs,
      });
    }
  });
}

/**
 * A run was killed while it made this archive. With a manifest it is whole, and taken; without one it does not exist, and
 * what there is of it goes. Nothing that has a manifest is removed here: the ledger of a clone of this server has the row
 * too, and the archive may be what the original lives on.
 */
export async function takeUp(context: ArchiveContext, row: ArchiveRow): Promise<void> {
  const { db, settings, log } = context;
  const schema = settings.stateSchema;
  const known = row.stores.filter((name) => settings.stores.some((store) => store.name === name));
  const { stores, manifest } = await goodStores(context, { ...row, stores: known });
  const opened = await Promise.all(known.map(context.openStore));
  const remains = [];
  for (const store of opened) {
    if ((await store.head(`${row.place}${manifestName}`)) === undefined) remains.push(store);
  }
  const left = await removeRemains(remains, row.place);
  await dropScratch(db, schema, row.id);
  // A manifest of another snapshot than this ledger knows of was written after this database was copied.
  if (manifest !== undefined && row.baselineXmin === manifest.snapshot.xmin) {
    await recordVerified(db, schema, row.id, {
      stores: stores.map((store) => store.name),
      rows: manifest.rows,
      storedBytes: storedBytesOf(manifest),
      baselineXmin: row.baselineXmin,
    });
    const event = { event: 'archive_taken_up', archive: row.id };
    log.info(event, `archive ${row.id} was whole when its run was interrupted, and is taken`);
    return;
  }
  if (left.length > 0) {
    throw new DbopsError(
      'store_failed',
      `what an interrupted run left of archive ${row.id} could not be removed from ${left.map(({ name }) => `"${name}"`).join(', ')}`,
      { hint: 'The next run tries it again; "dbops doctor" tries every kind of access to a store.' },
    );
  }
  await recordArchiveState(db, schema, row.id, 'failed', 'the run that made it was interrupted');
  if (remains.length > 0)
    log.info(
      { event: 'archive_given_up', archive: row.id },
      `removed what an interrupted run left of archive ${row.id}`,
    );
  if (remains.length < opened.length)
    log.warn(
      { event: 'archive_of_another', archive: row.id },
      `archive ${row.id} is whole in its store, and not by this ledger: is this server a clone? It is kept`,
    );
}
