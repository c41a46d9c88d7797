import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { applyChanges } from '../../plan/apply.ts';
import type { Change } from '../../plan/step.ts';
import type { ConvertTableRow } from '../../sql/convert.ts';
import { listReferencingTables, listRowSecured } from '../../sql/convert-hazards.ts';
import { fingerprintSql, readFingerprint } from '../../sql/convert-dependents.ts';
import { listPartitions } from '../../sql/partitions.ts';
import { displayName, relation } from '../../sql/quote.ts';
import { hasRows, listMarkedTables } from '../../sql/relations.ts';
import type { JobContext, PlanContext } from '../context.ts';
import { abandonChanges } from './abandon.ts';
import { showPoint } from './cutover.ts';
import { getConvertTable, inspectTable } from './inspect.ts';
import { convertedPrefix, parseConverted } from './marker.ts';
import { listObstacles } from './obstacles.ts';
import { prepareChanges } from './prepare.ts';
import { swapChange } from './swap.ts';
import { resolveTarget, tableFingerprint, type ConvertTarget, type PlanOptions } from './target.ts';
import { keyNotes } from './undo-restore.ts';
import { undoChanges, undoObstacles, type UndoTarget } from './undo.ts';
import { describeLocks, describeNotes, type LockLine } from './describe.ts';
import type { ConvertWish, Obstacle } from './wish.ts';

/** What a convert, or an undo, would do, and what stands in its way. */
export interface ConvertPlan {
  label: string;
  oid: number;
  /** The table is a parent with its old self as a partition: nothing is left to do. */
  isConverted: boolean;
  obstacles: Obstacle[];
  /** Empty with obstacles. */
  changes: Change[];
  locks: LockLine[];
  /** What the operator should know: what is lost, what is refused meanwhile. */
  notes: string[];
  cutover: string | null;
  legacy: string | null;
}

/**
 * Plans the conversion of one table. Reads the catalog, and the table itself for rows past the cutover. Throws
 * table_not_found, usage or config_invalid for what was typed; everything else comes back as obstacles.
 */
export async function planConvert(
  context: PlanContext,
  wish: ConvertWish,
  options: PlanOptions = { readsRows: true },
): Promise<ConvertPlan> {
  const { db } = context;
  const found = await getConvertTable(db, wish.table);
  if (found.kind === 'p') return await alreadyPartitioned(context, found);
  const fingerprint = await tableFingerprint(db, wish, found);
  const table = await getConvertTable(db, wish.table);
  const inspected = await inspectTable(db, { ...table, oid: found.oid });
  const views = inspected.views.filter((view) => !wish.leaveBehind.includes(relation(view)));
  const facts = { ...inspected, views };
  const { target, obstacles } = await resolveTarget(context, wish, facts, { ...options, fingerprint });
  const all = [...listObstacles(facts, wish, db.server.user, target?.newIndex), ...obstacles];
  const changes =
    target === undefined || all.length > 0 ? [] : [...prepareChanges(target), swapChange(target)];
  return {
    label: displayName(table),
    oid: table.oid,
    isConverted: false,
    obstacles: all,
    changes,
    locks: target === undefined ? [] : describeLocks(target),
    notes: target === undefined ? [] : describeNotes(target),
    cutover: target === undefined ? null : showCutover(target),
    legacy: target === undefined ? null : displayName(target.legacy),
  };
}

function showCutover(target: ConvertTarget): string {
  return showPoint(target.cutover, target.codec, target.zone);
}

function emptyPlan(table: ConvertTableRow): ConvertPlan {
  return {
    label: displayName(table),
    oid: table.oid,
    isConverted: false,
    obstacles: [],
    changes: [],
    locks: [],
    notes: [],
    cutover: null,
    legacy: null,
  };
}

/** Running a convert again after it was done is no mistake; any other partitioned table is. */
async function alreadyPartitioned(context: PlanContext, table: ConvertTableRow): Promise<ConvertPlan> {
  const found = await findLegacy(context, table);
  const plan = emptyPlan(table);
  if (found !== undefined) {
    const cutover = parseConverted(found.comment)?.cutover ?? null;
    return { ...plan, isConverted: true, legacy: displayName(found), cutover };
  }
  return {
    ...plan,
    obstacles: [
      {
        object: `table ${plan.label}`,
        problem: 'is partitioned already',
        remedy: '"dbops partition ensure" creates its partitions.',
      },
    ],
  };
}

async function findLegacy(context: PlanContext, parent: ConvertTableRow) {
  const partitions = await listPartitions(context.db, [parent.oid]);
  const marked = await listMarkedTables(context.db, convertedPrefix);
  return marked.find((row) => partitions.some((item) => item.oid === row.oid));
}

/** Plans the way back: before the swap what was begun is taken away, after it the tables change places again. */
export async function planUndo(
  context: PlanContext,
  wish: Pick<ConvertWish, 'table' | 'legacyName' | 'dropIncomingForeignKeys'>,
): Promise<ConvertPlan> {
  const { db, settings } = context;
  const table = await getConvertTable(db, wish.table);
  const plan = emptyPlan(table);
  if (table.kind === 'r') {
    const facts = await inspectTable(db, table);
    const times = {
      lockTimeoutMs: settings.lockTimeoutMs,
      deadlockTimeoutMs: db.server.deadlockTimeoutMs,
    };
    return { ...plan, changes: abandonChanges(facts, plan.label, wish.legacyName, times) };
  }
  const target = await undoTarget(context, table, wish.dropIncomingForeignKeys);
  const obstacles = undoObstacles(target);
  const notes = keyNotes(target);
  return { ...plan, obstacles, changes: obstacles.length > 0 ? [] : undoChanges(target), notes };
}

async function undoTarget(
  context: PlanContext,
  table: ConvertTableRow,
  leavesKeysOut: boolean,
): Promise<UndoTarget> {
  const { db, settings } = context;
  // Before anything else is read: what changes while the rest is read fails the guard.
  const expression = fingerprintSql(table.oid, "''", "''");
  const fingerprint = { expression, value: await readFingerprint(db, expression) };
  const found = await findLegacy(context, table);
  const mark = parseConverted(found?.comment ?? null);
  if (found === undefined || mark === undefined) {
    throw new DbopsError(
      'refused',
      `${displayName(table)} was not converted by dbops, or its old table is gone`,
      {
        hint: 'The comment on the legacy partition is what --undo goes by; it must not be changed.',
      },
    );
  }
  const others = (await listPartitions(db, [table.oid])).filter((item) => item.oid !== found.oid);
  const checked = [];
  const secured = await listRowSecured(
    db,
    others.map((item) => item.oid),
  );
  for (const item of others) {
    const isRowSecured = secured.includes(item.oid);
    checked.push({ ...item, isRowSecured, hasRows: !isRowSecured && (await hasRows(db, relation(item))) });
  }
  return {
    label: displayName(table),
    mark,
    parent: await inspectTable(db, table),
    legacy: await inspectTable(db, await getConvertTable(db, found)),
    others: checked,
    referencing: await listReferencingTables(
      db,
      mark.incoming.map((key) => key.table),
    ),
    leavesKeysOut,
    fingerprint,
    versionNum: db.server.versionNum,
    lockTimeoutMs: settings.lockTimeoutMs,
    deadlockTimeoutMs: db.server.deadlockTimeoutMs,
  };
}

/** Throws refused with every obstacle in the detail. */
export function refuseObstacles(plan: ConvertPlan, what: string): void {
  if (plan.obstacles.length === 0) return;
  const count = plan.obstacles.length;
  throw new DbopsError(
    'refused',
    `${plan.label} cannot be ${what}: ${String(count)} ${count === 1 ? 'thing prevents' : 'things prevent'} it`,
    {
      detail: plan.obstacles.map((item) => `${item.object} ${item.problem}\n  ${item.remedy}`).join('\n'),
      hint: 'Nothing was changed.',
    },
  );
}

/** Executes a plan that `replan` makes once more under the table's advisory lock, after the operator's consent. */
export async function runConvert(
  context: JobContext,
  replan: (options: PlanOptions) => Promise<ConvertPlan>,
  what: 'converted' | 'undone',
): Promise<ConvertPlan> {
  const first = await replan({ readsRows: true });
  refuseObstacles(first, what);
  if (first.changes.length === 0) return first;
  const question = what === 'converted' ? `Convert ${first.label}?` : `Undo the convert of ${first.label}?`;
  await context.consent(first.changes, question);
  const { db, waitMs, signal } = context;
  return await withAdvisoryLock(db, { table: first.oid, name: first.label }, { waitMs, signal }, async () => {
    // A row that came in between makes the validation fail, which takes the CHECK back: no need to read all again.
    const plan = await replan({ readsRows: false });
    refuseObstacles(plan, what);
    if (plan.changes.length === 0) return plan;
    await context.history.begin(
      db,
      plan.changes.map((change) => change.summary),
    );
    await applyChanges(db, plan.changes, context.applied, {
      log: context.log,
      signal,
      deadlineMs: context.settings.lockDeadlineMs,
    });
    return plan;
  });
}
