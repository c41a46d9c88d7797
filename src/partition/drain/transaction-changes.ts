import { humanCount, humanSeconds } from '../../output/human.ts';
import { quietStep, type Change, type Step } from '../../plan/step.ts';
import { checkReferencesSql } from '../../sql/drain.ts';
import { displayName } from '../../sql/quote.ts';
import { attachSteps, createSteps } from '../create/child.ts';
import {
  type PeriodWork,
  moveOf,
  rangeText,
  statementTimeoutOf,
  lockSteps,
  attachLocksOf,
  detachSteps,
  reattachSteps,
  moveSteps,
} from './period-work.ts';

/**
 * One period in one transaction: to READ COMMITTED rows are never absent and never twice. A REPEATABLE READ transaction
 * whose snapshot is older than the commit looks for them in the new partition, where it does not see them.
 */
export function transactionChangeOf(work: PeriodWork): Change {
  const { source, period, estimate } = work;
  const { set, parent } = source;
  const target = displayName(period.partition.table);
  const kept = humanSeconds(estimate.keptOutMs / 1000);
  return {
    summary:
      `move ${humanCount(period.rows)} rows from ${rangeText(work)} out of ${displayName(source.partition)} to ${target}; ` +
      `readers and writers of ${set.label} wait about ${kept}`,
    table: set.label,
    kind: 'transaction',
    lockTimeoutMs: work.settings.lockTimeoutMs,
    statementTimeoutMs: statementTimeoutOf(work),
    event: 'partition_drained',
    fields: {
      partition: `${period.partition.table.schema}.${period.partition.table.name}`,
      rows: period.rows,
    },
    steps: [
      ...lockSteps(work),
      ...detachSteps(work),
      ...createSteps(parent, set.settings.key, set.codec, period.partition, set.settings.storageParameters),
      ...moveSteps(work),
      ...reattachSteps(work),
      ...attachSteps(parent, set.codec, period.partition, attachLocksOf(work)),
      ...checkSteps(work),
    ],
  };
}

/** Triggers of foreign keys did not fire either, so what they watch over is looked at. */
function checkSteps(work: PeriodWork): Step[] {
  const { source, period } = work;
  if (!source.withoutTriggers) return [];
  return source.foreignKeys
    .filter((key) => key.direction === 'incoming')
    .map((key) =>
      quietStep(
        checkReferencesSql(
          source.parent,
          {
            constraint: key.constraint,
            referencing: { schema: key.otherSchema, name: key.otherName },
            columns: key.otherColumns,
            referenced: key.columns,
          },
          moveOf(source, period),
        ),
        'its triggers were off: every row that points at the moved ones must still find them',
      ),
    );
}
