import { writeTable } from '../config/table-name.ts';
import { DbopsError } from '../errors.ts';
import { humanBytes } from '../output/human.ts';
import type { JobContext } from '../partition/context.ts';
import { listFigures, vacuumFullSql } from '../sql/maintenance.ts';
import { displayName, relation } from '../sql/quote.ts';
import { listExtensions } from '../sql/requirements.ts';
import { findFreeBytes } from './disk.ts';
import { findNamed, wholeTables } from './scope.ts';
import type { MaintenancePlan } from './task.ts';

/** What is typed twice, and until when it may last. */
export interface FullRequest {
  tables: string[];
  /** Undefined in a plan, which asks for nothing. */
  confirm: string | undefined;
  isPlan: boolean;
  until: string | undefined;
}

/**
 * VACUUM FULL of one table: nobody reads or writes it from its beginning to its end, which takes a window and the name of
 * the table a second time. Throws usage, refused, confirmation_required and table_not_found.
 */
export async function planVacuumFull(
  context: Pick<JobContext, 'db' | 'settings'>,
  request: FullRequest,
): Promise<MaintenancePlan> {
  const { db, settings } = context;
  const { tables, until, isPlan } = request;
  const [written] = tables;
  if (written === undefined || tables.length > 1)
    throw new DbopsError('usage', '--full takes one --table', {
      hint: 'It locks the table for all its time.',
    });
  const [row] = await findNamed(db, [written], wholeTables);
  if (row === undefined) throw new Error('a table was found and is not there');
  const [figures] = await listFigures(db, [row]);
  const sizeBytes = figures?.sizeBytes ?? 0;
  const freeBytes = await findFreeBytes(db);
  const facts =
    `ACCESS EXCLUSIVE on ${displayName(row)} for all its time: nobody reads or writes it; size ${humanBytes(sizeBytes)}, ` +
    `and up to as much again on disk until it ends; free: ${freeBytes === null ? 'unknown, the disk is not seen from here' : humanBytes(freeBytes)}`;
  if (!isPlan) refuse(writeTable(row), request, facts, { sizeBytes, freeBytes });
  const repack =
    (await listExtensions(db, ['pg_repack'])).length > 0
      ? `pg_repack is installed and does the same without that lock: pg_repack --table ${writeTable(row)}`
      : 'the extension pg_repack does the same without that lock; it is not installed here';
  return {
    tasks: [
      {
        verb: 'vacuum full',
        target: row,
        isMeasured: true,
        why: 'it was asked for',
        change: {
          summary: `vacuum full ${displayName(row)}`,
          table: displayName(row),
          kind: 'single',
          lockTimeoutMs: settings.lockTimeoutMs,
          statementTimeoutMs: null,
          event: 'maintenance_vacuum_full',
          steps: [
            {
              sql: vacuumFullSql(row),
              locks: [{ table: relation(row), mode: 'ACCESS EXCLUSIVE' }],
              why: until === undefined ? facts : `${facts}; ends at ${until}`,
            },
          ],
        },
      },
    ],
    leftOut: [],
    warnings: [facts, repack],
  };
}

function refuse(
  table: string,
  { confirm, until }: FullRequest,
  facts: string,
  { sizeBytes, freeBytes }: { sizeBytes: number; freeBytes: number | null },
): void {
  if (until === undefined)
    throw new DbopsError('refused', `vacuum full of ${table} takes a window in which it may block others`, {
      detail: facts,
      hint: 'Give the end of the window with --until, such as --until 05:00.',
    });
  if (confirm !== table)
    throw new DbopsError('confirmation_required', `vacuum full of ${table} is not confirmed`, {
      detail: facts,
      hint: `Give its name again: --confirm ${table}`,
    });
  if (freeBytes !== null && freeBytes < sizeBytes)
    throw new DbopsError('refused', `vacuum full of ${table} may fill the disk`, {
      detail: facts,
      hint: 'Make room first, or take pg_repack to another tablespace.',
    });
}
