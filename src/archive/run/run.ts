import { storedBytesOf } from '../manifest.ts';
import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { applyChanges } from '../../plan/apply.ts';
import { combineProblems, type Problem } from '../../partition/problems.ts';
import { listArchiveRows, recordArchiveState, type ArchiveRow } from '../../sql/archives.ts';
import { displayName, relation, visible } from '../../sql/quote.ts';
import type { ArchiveContext } from '../context.ts';
import { createArchive } from '../export/create.ts';
import { whyKept } from '../../catalogue/hold.ts';
import { completeCopies, type PlannedCopies } from './copies.ts';
import { reportFailure } from './notify.ts';
import { planRun, type PlannedArchive, type RunOptions, type RunPlan } from './plan.ts';
import { findChange, proofOf, type Proof } from './prove.ts';
import { madeBefore } from './reuse.ts';
import { detachArchived, dropArchived, goodStores, startOver } from './retire.ts';
import { finishDetaches, takeUp } from './take-up.ts';
import { removeRemains } from '../../storage/copies.ts';

/** What became of one partition in a run. */
export interface RunLine {
  table: string;
  partition: string;
  archive: string;
  rows: number;
  storedBytes: number;
  stores: string[];
  reached: 'verified' | 'copied' | 'detached' | 'dropped' | 'attached again';
}

/** A changed partition is archived anew at once; one that goes on changing waits for the next run. */
const mostAttempts = 2;

/**
 * Archives what is due, detaches it, proves it unchanged, and drops what is past its quarantine: planned once more under
 * the advisory lock "archive". What fails for one partition does not stop the others; it is thrown at the end.
 */
export async function runArchive(
  context: ArchiveContext,
  options: RunOptions,
): Promise<{ lines: RunLine[]; plan: RunPlan }> {
  const { db, waitMs, signal, settings, log, history } = context;
  return await withAdvisoryLock(db, 'archive', { waitMs, signal }, async () => {
    let plan = await planRun(context, options);
    const lines: RunLine[] = [];
    if (hasWork(plan)) {
      await applyChanges(db, plan.before, context.applied, {
        log,
        signal,
        deadlineMs: settings.lockDeadlineMs,
      });
      await history.begin(
        db,
        plan.archives.map((item) => item.label),
      );
      plan = await planAfterLeftovers(context, options, plan);
      for (const item of plan.copies) await copyMore(context, plan.problems, item, lines);
      for (const item of plan.archives) {
        await each(context, plan.problems, item.label, async () => {
          lines.push(await archiveOne(context, item, options));
        });
      }
      const attached = new Set<number>();
      for (const item of plan.proofs) {
        await each(context, plan.problems, displayName(item.ledger), async () => {
          const line = await proveLater(context, item);
          if (line.reached === 'attached again') attached.add(item.ledger.oid);
          lines.push(line);
        });
      }
      for (const item of plan.drops.filter(({ ledger }) => !attached.has(ledger.oid))) {
        await each(context, plan.problems, displayName(item.ledger), async () => {
          const reason = await dropArchived(context, item);
          lines.push(lineOf(item.archive, reason === null ? 'dropped' : 'attached again'));
        });
      }
    }
    if (plan.problems.length > 0) throw combined(plan.problems);
    return { lines, plan };
  });
}

/** Before anything is dropped: what is missing may be what is required. A partition that waits for it is told by its drop. */
async function copyMore(
  context: ArchiveContext,
  problems: Problem[],
  item: PlannedCopies,
  lines: RunLine[],
): Promise<void> {
  await each(context, problems, `archive ${item.archive.id}`, async () => {
    const made = await completeCopies(context, item);
    item.archive.stores = [...item.archive.stores, ...made];
    if (made.length > 0) lines.push(lineOf(item.archive, 'copied'));
  });
}

function hasWork(plan: RunPlan): boolean {
  const { archives, proofs, drops, copies, unfinished, leftovers } = plan;
  return [archives, proofs, drops, copies, unfinished, leftovers].some((list) => list.length > 0);
}

/** Finishes what earlier runs left, and plans with what there is then. What cannot be finished does not stop the rest. */
async function planAfterLeftovers(
  context: ArchiveContext,
  options: RunOptions,
  plan: RunPlan,
): Promise<RunPlan> {
  if (plan.leftovers.length === 0 && plan.unfinished.length === 0) return plan;
  const problems: Problem[] = [];
  if (plan.leftovers.length > 0) {
    await each(context, problems, 'an interrupted detach', () => finishDetaches(context, options));
  }
  for (const row of plan.unfinished) {
    await each(context, problems, `archive ${row.id}`, () => takeUp(context, row));
  }
  const again = await planRun(context, options);
  return { ...again, problems: [...problems, ...again.problems] };
}

function combined(problems: Problem[]): DbopsError {
  return combineProblems(problems, 'What else was due is done; correct these and run it again.');
}

/** One partition's failure is told, sent to the hook, and does not stop the others; an interruption does. */
async function each(
  context: ArchiveContext,
  problems: Problem[],
  label: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
    context.log.error(
      { event: 'archive_failed', partition: label, code: error.code },
      `${label}: ${error.message}`,
    );
    await reportFailure(context, label, error);
    // Without a connection there is nothing that could be done for the others.
    if (error.exitCode === 3) throw error;
    problems.push({ table: label, error });
  }
}

async function archiveOne(
  context: ArchiveContext,
  item: PlannedArchive,
  options: RunOptions,
): Promise<RunLine> {
  const { settings } = item.set;
  const own = new Set<string>();
  for (let attempt = 1; ; attempt += 1) {
    const before = attempt === 1 ? await madeBefore(context, item) : undefined;
    const proof = before ?? (await madeNow(context, item));
    if (before === undefined) await removeOvertaken(context, item, own);
    const line: RunLine = {
      table: displayName(item.parent),
      partition: item.label,
      archive: proof.archiveId,
      rows: proof.manifest.rows,
      storedBytes: storedBytesOf(proof.manifest),
      stores: proof.stores.map((store) => store.name),
      reached: 'verified',
    };
    if (options.until === 'verified') return line;
    await detachArchived(
      context,
      { partition: item.partition, quarantine: settings.quarantine },
      proof.archiveId,
    );
    const reason = await findChange(context, proof);
    if (reason === null) return { ...line, reached: 'detached' };
    await startOver(context, proof, relation(item.parent), reason);
    if (before === undefined) own.add(proof.archiveId);
    if (attempt === mostAttempts) {
      throw new DbopsError(
        'object_changed',
        `${item.label} was changed while it was archived, ${String(attempt)} times`,
        {
          detail: reason,
          hint: 'It is attached, with all its rows; raise "archive.settle", or see who writes to it.',
        },
      );
    }
  }
}

async function madeNow(context: ArchiveContext, item: PlannedArchive): Promise<Proof> {
  const { id, manifest, stores, place } = await createArchive(context, item);
  return {
    table: item.partition,
    oid: item.partition.oid,
    archiveId: id,
    manifest,
    place,
    baselineXmin: manifest.snapshot.xmin,
    stores: await Promise.all(stores.map(context.openStore)),
  };
}

/**
 * A copy that this run made, and another has overtaken, goes, unless it is held: whoever has only the store must find one
 * truth. Copies of earlier runs are kept: the ledger of a clone of this server has them too, and would take away what the
 * original lives on.
 */
async function removeOvertaken(
  context: ArchiveContext,
  item: PlannedArchive,
  own: Set<string>,
): Promise<void> {
  const { db, settings, log } = context;
  for (const row of await listArchiveRows(db, settings.stateSchema, ['superseded'])) {
    if (row.partitionOid !== item.partition.oid || row.hold !== null) continue;
    const stores = await Promise.all(row.stores.map(context.openStore));
    const kept =
      (await whyKept(stores, row.place, context.signal)) ??
      (own.has(row.id)
        ? undefined
        : `an earlier run made it; "dbops archive prune ${row.id}" removes it, unless a clone of this server shares the store`);
    if (kept !== undefined) {
      log.warn(
        { event: 'archive_kept', archive: row.id },
        `archive ${row.id}, which was overtaken, is kept: ${visible(kept)}`,
      );
      continue;
    }
    if ((await removeRemains(stores, row.place)).length > 0) continue;
    await recordArchiveState(
      db,
      settings.stateSchema,
      row.id,
      'expired',
      `${row.message ?? 'changed'}; archived anew`,
    );
    log.info({ event: 'archive_removed', archive: row.id }, `removed archive ${row.id}, which was overtaken`);
  }
}

async function proveLater(context: ArchiveContext, item: RunPlan['proofs'][number]): Promise<RunLine> {
  const { ledger, archive } = item;
  const { stores, manifest, problems } = await goodStores(context, archive);
  if (manifest === undefined) {
    throw new DbopsError('copy_damaged', `archive ${archive.id} is in none of its stores any more`, {
      detail: problems.join('\n'),
      hint: `${displayName(ledger)} is detached and keeps its rows: attach it again with "dbops partition attach".`,
    });
  }
  const proof = proofOf(ledger, archive, { manifest, stores });
  const reason = await findChange(context, proof);
  if (reason !== null) await startOver(context, proof, ledger.parent, reason);
  return lineOf(archive, reason === null ? 'detached' : 'attached again');
}

function lineOf(archive: ArchiveRow, reached: RunLine['reached']): RunLine {
  return {
    table: displayName({ schema: archive.tableSchema, name: archive.tableName }),
    partition: displayName({ schema: archive.partitionSchema, name: archive.partitionName }),
    archive: archive.id,
    rows: Number(archive.rowCount ?? 0n),
    storedBytes: Number(archive.storedBytes ?? 0n),
    stores: archive.stores,
    reached,
  };
}
