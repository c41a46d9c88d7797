import type { RowsDefinition, RowsLimits } from '../config/rows.ts';
import { DbopsError } from '../errors.ts';
import { humanCount } from '../output/human.ts';
import { batchSizes } from '../plan/batch-size.ts';
import { transactionChange, type Change } from '../plan/step.ts';
import { displayName, relation, visible } from '../sql/quote.ts';
import {
  batchScript,
  findLastKey,
  type BatchShape,
  type KeyColumn,
  type Stretch,
} from '../sql/rows-batch.ts';
import { explainChange } from '../sql/rows-condition.ts';
import { listRowsLeaves, type RowsLeaf, type RowsTableRow } from '../sql/rows-table.ts';
import { planArchiveTable, type ArchiveTable } from './archive-table.ts';
import { makeCondition, readPlan, type Condition, type Reading } from './condition.ts';
import type { RowsContext } from './context.ts';
import { findEffects } from './effects.ts';
import { planMask } from './mask.ts';
import type { RowsSpec, SpecLeaf } from './spec.ts';
import { primaryKeyOf } from './table.ts';
import { batchStatementTimeoutMs, windowOf } from './window.ts';

export interface RowsPlan {
  definition: RowsDefinition;
  table: RowsTableRow;
  condition: Condition;
  shape: BatchShape;
  leaves: SpecLeaf[];
  stretches: Stretch[];
  /** Rows that the planner expects to change. */
  expectedRows: number;
  /** Makes the archive table, where that is wanted, and the first batch. */
  changes: Change[];
  /** The part of them that is not a batch. */
  before: Change[];
  /** What the job sets off, and what should be known of it. */
  warnings: string[];
}

/**
 * Plans a job: which rows, how they are reached, what is set off. With what a job has frozen, the moment stays that.
 * Throws usage or refused before anything was changed. Locks: ACCESS SHARE and, for an instant, what planning takes.
 */
export async function planRows(
  context: Pick<RowsContext, 'db' | 'now' | 'settings'>,
  table: RowsTableRow,
  definition: RowsDefinition,
  limits: RowsLimits,
  frozen: RowsSpec | undefined,
): Promise<RowsPlan> {
  const condition = await makeCondition(context, table, definition, frozen);
  await readPlan(context, table, condition.sql);
  const effects = await findEffects(context, table, definition, condition.sql);
  const keys = primaryKeyOf(table);
  if (definition.verb === 'mask') refuseKey(table, keys);
  const archive =
    definition.verb === 'move'
      ? await planArchiveTable(context, table, definition.to ?? '', definition.create)
      : undefined;
  const mask =
    definition.verb === 'mask' ? await planMask(context, table, definition, condition.sql) : undefined;
  const whole =
    mask?.unlessMasked === undefined ? condition.sql : `${condition.sql} and (${mask.unlessMasked})`;
  const reading = await readPlan(context, table, whole);
  const chosen = await chosenLeaves(context, table, reading);
  const leaves = frozen?.leaves ?? chosen.map(({ oid, schema, name, file }) => ({ oid, schema, name, file }));
  const shape: BatchShape = {
    verb: definition.verb,
    keys,
    condition: whole,
    target: archive === undefined ? undefined : { table: archive.table, columns: archive.columns },
    set: mask?.set,
    mayKeep: effects.mayKeep,
  };
  const stretches =
    frozen?.stretches ?? (await findStretches(context, chosen, keys, definition.verb === 'mask'));
  const plan = {
    definition,
    table,
    condition,
    shape,
    leaves,
    stretches,
    expectedRows: reading.expectedRows,
    before: archive?.changes ?? [],
    warnings: [...effects.told, ...(archive?.effects ?? []), ...(mask?.warnings ?? [])],
  };
  const batch = await firstBatch(context, plan, limits, archive);
  return { ...plan, changes: [...plan.before, ...(batch === undefined ? [] : [batch])] };
}

function refuseKey(table: RowsTableRow, keys: KeyColumn[]): void {
  if (keys.length === 0) throw needsKey(table);
  if (!table.uniques.some((unique) => unique.isPrimary && unique.hasOwnOrder)) return;
  throw new DbopsError(
    'refused',
    `the primary key of ${displayName(table)} has an order that is not the server's own`,
    {
      detail: 'an extension such as citext brings it: comparisons would find other rows than the index does',
      hint: 'Mask it by a statement of your own.',
    },
  );
}

function needsKey(table: RowsTableRow): DbopsError {
  return new DbopsError(
    'refused',
    `${displayName(table)} has no primary key, so masked rows cannot be told from others`,
    {
      detail: 'a changed row lies somewhere else: a walk by places would meet it twice, or not at all',
      hint: `Give it one: ALTER TABLE ${relation(table)} ADD PRIMARY KEY (...).`,
    },
  );
}

/** The tables in which the planner expects such rows, so that whole partitions are left alone. */
async function chosenLeaves(
  context: Pick<RowsContext, 'db'>,
  table: RowsTableRow,
  reading: Reading,
): Promise<RowsLeaf[]> {
  const all = await listRowsLeaves(context.db, table.oid);
  const leaves = all.filter((leaf) => reading.tables.has(relation(leaf)));
  if (leaves.length < reading.tables.size) {
    throw new DbopsError(
      'refused',
      `${displayName(table)} has partitions that are not tables of this server`,
      {
        hint: 'Name the partitions that are, one by one.',
      },
    );
  }
  const hidden = leaves.find((leaf) => leaf.isRowSecurityActive);
  if (hidden !== undefined) {
    throw new DbopsError(
      'refused',
      `${displayName(hidden)}: row security hides rows from role "${context.db.server.user}"`,
      { hint: 'Run as its owner, or as a role with BYPASSRLS: a partition has row security of its own.' },
    );
  }
  return leaves;
}

/**
 * Where the job goes, up to the end that each table has now. Rows that leave a table are found block by block, as a scan
 * reads them: no index is read, and no row is met twice. A masked row lies somewhere else afterwards, so a mask goes
 * along the primary key.
 */
async function findStretches(
  context: Pick<RowsContext, 'db'>,
  leaves: RowsLeaf[],
  keys: KeyColumn[],
  byKey: boolean,
): Promise<Stretch[]> {
  const stretches: Stretch[] = [];
  for (const [index, leaf] of leaves.entries()) {
    const upto = byKey ? await findLastKey(context.db, leaf, keys) : leaf.blocks;
    if (upto === undefined || upto === 0) continue;
    stretches.push({ leaf: index, after: byKey ? null : 0, upto });
  }
  return stretches;
}

const doing = { purge: 'delete', move: 'move', mask: 'mask' } as const;

/** The first batch as it will be, which the server has planned: it says before what it would refuse. */
async function firstBatch(
  context: Pick<RowsContext, 'db' | 'settings'>,
  plan: Omit<RowsPlan, 'changes'>,
  limits: RowsLimits,
  archive: ArchiveTable | undefined,
): Promise<Change | undefined> {
  const [stretch] = plan.stretches;
  const leaf = plan.leaves[stretch?.leaf ?? 0];
  if (stretch === undefined || leaf === undefined) return undefined;
  const { shape } = plan;
  const rows = Math.min(batchSizes.first, limits.batchSize);
  const window = await windowOf(context.db, shape.keys, leaf, stretch, rows);
  // The table that rows move to may not be there yet.
  const isMade = archive !== undefined && archive.changes.length > 0;
  const checked = isMade ? { ...shape, target: undefined } : shape;
  await explainChange(context.db, batchScript(checked, leaf, window));
  return transactionChange({
    summary: summaryOf(plan, stretch),
    table: displayName(plan.table),
    lockTimeoutMs: context.settings.lockTimeoutMs,
    statementTimeoutMs: batchStatementTimeoutMs,
    event: 'rows_batch_done',
    steps: [
      {
        sql: batchScript(shape, leaf, window),
        locks: [
          { table: relation(leaf), mode: 'ROW EXCLUSIVE' },
          ...(shape.target === undefined
            ? []
            : [{ table: relation(shape.target.table), mode: 'ROW EXCLUSIVE' } as const]),
        ],
        why: `looks at about ${String(rows)} rows and changes those that fit`,
      },
    ],
  });
}

function summaryOf(plan: Omit<RowsPlan, 'changes'>, stretch: Stretch): string {
  const { shape, condition } = plan;
  const way =
    typeof stretch.upto === 'number'
      ? `block by block, up to block ${String(stretch.upto)}`
      : `along the primary key (${shape.keys.map((key) => visible(key.name)).join(', ')}), up to ${visible(stretch.upto.join(', '))}`;
  const moment = condition.cutoff === null ? '' : `, older than ${visible(condition.cutoffText ?? '')}`;
  const tables = plan.stretches.length > 1 ? ` of ${String(plan.stretches.length)} partitions` : '';
  return (
    `${doing[shape.verb]} about ${humanCount(plan.expectedRows)} rows of ${displayName(plan.table)}${moment}: the first ` +
    `batch. The run goes on ${way}${tables}, keeps its cursor in the transaction of each batch, passes over rows that ` +
    'others have locked, and lets batches grow while they take less than 100 ms'
  );
}
