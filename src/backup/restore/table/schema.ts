import { DbopsError } from '../../../errors.ts';
import type { Log } from '../../../output/log.ts';
import type { Db } from '../../../pg/connection.ts';
import { applyChanges } from '../../../plan/apply.ts';
import { quietStep, transactionChange, type Change } from '../../../plan/step.ts';
import { ident } from '../../../sql/quote.ts';
import { listWorkSchemas } from '../../../sql/restore-table.ts';
import { abandonedOf, type Working } from '../database/working.ts';
import type { TableContext } from './context.ts';

/** The schema in which tables are made before they get their place. Needs no quotes. */
export function workSchema(working: Working): string {
  return `dbops_restoring_${working.token}`;
}

/** Schemas that killed runs have left in a database. */
export async function listAbandonedSchemas(db: Db): Promise<string[]> {
  return await abandonedOf(db, await listWorkSchemas(db));
}

/** Drops what killed runs have left. Throws lock_timeout where somebody uses what is in it. */
export async function dropAbandonedSchemas(context: TableContext): Promise<void> {
  for (const name of await listAbandonedSchemas(context.target)) {
    await applyChanges(context.target, [dropping(context, name)], { changes: 0 }, optionsOf(context));
    context.log.info(
      { event: 'restore_swept', schema: name },
      `dropped schema ${name}, which an interrupted restore had left`,
    );
  }
}

/** Takes away what was made. What cannot be dropped now is dropped by the next restore. */
export async function dropWorkSchema(context: TableContext, name: string): Promise<void> {
  const log: Log = context.log;
  try {
    await applyChanges(
      context.target,
      [dropping(context, name)],
      { changes: 0 },
      {
        ...optionsOf(context),
        deadlineMs: Math.min(context.locks.deadlineMs, 10_000),
      },
    );
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    log.warn(
      { event: 'take_back_failed', reason: error.message },
      `schema ${name} could not be dropped; the next restore of a table drops it`,
    );
  }
}

/** What applying changes needs of a restore. */
export function optionsOf(context: TableContext) {
  // Each step of a restore is no news of its own.
  const { log, signal, locks } = context;
  return { log, signal, deadlineMs: locks.deadlineMs };
}

/** Foreign keys go with it, and for an instant the tables that they name are locked. */
function dropping(context: TableContext, name: string): Change {
  return transactionChange({
    summary: `drop schema ${name}`,
    table: name,
    event: 'restore_taken_back',
    lockTimeoutMs: context.locks.timeoutMs,
    statementTimeoutMs: null,
    steps: [quietStep(`drop schema if exists ${ident(name)} cascade`, 'what was made in it is of no use')],
  });
}
