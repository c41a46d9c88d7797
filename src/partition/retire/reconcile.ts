import { durationMs } from '../../config/duration.ts';
import { quietStep, transactionChange, type Change } from '../../plan/step.ts';
import { ledgerStateSql, listOpenLedger, type LedgerRow } from '../../sql/ledger.ts';
import { displayName, relation } from '../../sql/quote.ts';
import type { PlanContext } from '../context.ts';
import { markSql } from './marker.ts';
import { setOfParent, type PartitionSet } from '../model/set.ts';

/**
 * Brings ledger and database together after a run that was killed, or after somebody else's hand: detached but not
 * marked, never detached after all, dropped or attached by another.
 */
export async function reconcileChanges(context: PlanContext, sets: PartitionSet[]): Promise<Change[]> {
  const { db, settings } = context;
  const rows = await listOpenLedger(db, settings.stateSchema);
  return rows.flatMap((row) => reconcile(context, sets, row));
}

function reconcile(context: PlanContext, sets: PartitionSet[], row: LedgerRow): Change[] {
  const schema = context.settings.stateSchema;
  const label = displayName(row);
  const change = (summary: string, sql: string[]): Change[] => [
    transactionChange({
      summary,
      table: row.parent,
      event: 'ledger_reconciled',
      steps: sql.map((text) => quietStep(text, 'an earlier run, or somebody else, left it so')),
    }),
  ];
  if (!row.exists)
    return change(`${label} is gone: note it in the ledger`, [ledgerStateSql(schema, row.oid, 'dropped')]);
  if (row.isDetachPending) return [];
  if (row.isAttached) {
    return change(`${label} is attached: note it in the ledger`, [
      ledgerStateSql(schema, row.oid, 'attached again'),
    ]);
  }
  if (row.state === 'detached') return [];
  const quarantine = setOfParent(sets, row.parent)?.settings.quarantine;
  const dropAfter =
    row.policy !== 'keep' && quarantine !== undefined
      ? new Date(context.now.getTime() + durationMs(quarantine))
      : null;
  const mark = { from: row.parent, bounds: row.bounds, at: context.now, dropAfter, archive: row.archiveId };
  return change(`mark ${label}, whose detach was interrupted`, [
    markSql(relation(row), mark),
    ledgerStateSql(schema, row.oid, 'detached', dropAfter),
  ]);
}
