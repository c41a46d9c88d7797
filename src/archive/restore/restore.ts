import { storedBytesOf } from '../manifest.ts';
import { createHash } from 'node:crypto';
import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { isConnectionLoss } from '../../pg/sqlstate.ts';
import { applyChanges, type ApplyOptions } from '../../plan/apply.ts';
import type { Change } from '../../plan/step.ts';
import { applyAttach, planAttach } from '../../partition/retire/attach.ts';
import { writeTable } from '../../config/table-name.ts';
import { displayName, relation } from '../../sql/quote.ts';
import { listRelationsNamed } from '../../sql/relations.ts';
import type { ArchiveContext } from '../context.ts';
import { differences } from '../definition/differences.ts';
import { loadDefinition } from '../definition/load.ts';
import { renamed } from '../definition/names.ts';
import { restoringMarker } from './changes.ts';
import { loadParts } from './load.ts';
import type { RestorePlan } from './plan.ts';
import { archivedDigest, compareDigests, proveCount, restoredDigest } from './verify.ts';

export interface RestoreResult {
  archive: string;
  table: string;
  rows: number;
  storedBytes: number;
  verified: 'bytes' | 'digest';
  attachedTo: string | null;
  seconds: number;
  /** What the table lacks, by intent. */
  warnings: string[];
  /** In what the definition of the table differs from the archived one in spite of all; empty as a rule. */
  differences: string[];
}

/**
 * Makes the table, loads and proves it, planned once more under the lock of its name. What fails takes the table away
 * again, unless this run was interrupted or lost the server: then its mark tells the next run to begin anew.
 */
export async function applyRestore(
  context: ArchiveContext,
  first: RestorePlan,
  replan: () => Promise<RestorePlan>,
): Promise<RestoreResult> {
  const { db, waitMs, signal } = context;
  const started = performance.now();
  const lock = { table: lockKey(first), name: first.label };
  const { plan, found } = await withAdvisoryLock(db, lock, { waitMs, signal }, async () => {
    const now = await replan();
    await context.history.begin(db, [now.label, now.archive.id]);
    try {
      return { plan: now, found: await restore(context, now) };
    } catch (error) {
      await takeAway(context, now, error);
      throw error;
    }
  });
  if (plan.parent !== undefined) await attach(context, plan, plan.parent);
  const { manifest } = plan.archive;
  return {
    archive: plan.archive.id,
    table: plan.label,
    rows: manifest.rows,
    storedBytes: storedBytesOf(manifest),
    verified: plan.options.verify,
    attachedTo: plan.parent === undefined ? null : displayName(plan.parent.name),
    seconds: (performance.now() - started) / 1000,
    warnings: plan.warnings,
    differences: found,
  };
}

/** The table is not there yet and has no oid: its name is hashed, above all oids of tables that other jobs lock. */
function lockKey(plan: RestorePlan): number {
  const digest = createHash('sha256')
    .update(`restore ${relation(plan.target)}`)
    .digest();
  return (digest.readUInt32BE(0) | 0x8000_0000) >>> 0;
}

async function restore(context: ArchiveContext, plan: RestorePlan): Promise<string[]> {
  const { db } = context;
  const { changes } = plan;
  const options = applyOptions(context);
  await applyChanges(db, [changes.prepare], context.applied, options);
  const rows = await loadParts(context, plan);
  if (rows !== plan.archive.manifest.rows) await proveCount(context, plan);
  const isDeep = plan.options.verify === 'digest';
  // While the server builds indexes, the parts may be read once more.
  const [archived] = await Promise.all([
    isDeep ? archivedDigest(context, plan.archive) : undefined,
    buildIndexes(context, changes.indexes),
  ]);
  await applyChanges(db, [changes.finish, changes.analyze], context.applied, options);
  await proveCount(context, plan);
  const oid = await oidOf(context, plan);
  if (archived !== undefined) compareDigests(plan, archived, await restoredDigest(context, plan, oid));
  await applyChanges(db, [changes.publish], context.applied, options);
  return differences(renamed(plan.definition, plan.target), await loadDefinition(db, oid), 'all');
}

function applyOptions(context: ArchiveContext): ApplyOptions {
  return { log: context.log, signal: context.signal, deadlineMs: context.settings.lockDeadlineMs };
}

/** Two sessions, each with an index at a time: a build is bound by one core where the server lends it no workers. */
async function buildIndexes(context: ArchiveContext, indexes: Change[]): Promise<void> {
  const queue = [...indexes];
  const work = async (db: ArchiveContext['db']) => {
    for (let change = queue.shift(); change !== undefined; change = queue.shift()) {
      await applyChanges(db, [change], context.applied, applyOptions(context));
    }
  };
  if (indexes.length < 2 || context.jobs < 2) {
    await work(context.db);
    return;
  }
  const second = await context.db.openAnother();
  try {
    const results = await Promise.allSettled([work(context.db), work(second)]);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  } finally {
    await second.close();
  }
}

async function oidOf(context: ArchiveContext, plan: RestorePlan): Promise<number> {
  const rows = await listRelationsNamed(context.db, [plan.target]);
  const table = rows.find((row) => row.comment === `${restoringMarker} ${plan.archive.id}`);
  if (table !== undefined) return table.oid;
  throw new DbopsError('object_changed', `${plan.label} was changed while it was being restored`, {
    hint: 'Its mark is gone: somebody else works on it. Look at it, drop it, and run the command again.',
  });
}

/** Only a table that still has our mark goes. */
async function takeAway(context: ArchiveContext, plan: RestorePlan, reason: unknown): Promise<void> {
  if (context.signal.aborted || isConnectionLoss(reason)) return;
  try {
    const rows = await listRelationsNamed(context.db, [plan.target]);
    if (!rows.some((row) => row.comment === `${restoringMarker} ${plan.archive.id}`)) return;
    await context.db.execute(`drop table ${relation(plan.target)}`);
    context.applied.changes = 0;
    context.log.info(
      { event: 'restore_taken_back', table: plan.label },
      `removed ${plan.label}, which was not restored to its end`,
    );
  } catch (error) {
    context.log.warn(
      { event: 'take_back_failed', reason: error instanceof Error ? error.message : String(error) },
      `${plan.label} is there in part; running the command again begins it anew`,
    );
  }
}

async function attach(
  context: ArchiveContext,
  plan: RestorePlan,
  parent: NonNullable<RestorePlan['parent']>,
): Promise<void> {
  const wish = {
    partition: writeTable(plan.target),
    to: writeTable(parent.name),
    from: parent.from,
    until: parent.until,
  };
  const replan = () => planAttach(context, wish);
  await applyAttach(context, await replan(), replan);
}
