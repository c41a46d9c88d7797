import { matches } from '../config/pattern.ts';
import type { JobContext } from '../partition/context.ts';
import type { Change } from '../plan/step.ts';
import { analyzeSql, vacuumSql } from '../sql/maintenance.ts';
import { displayName, relation } from '../sql/quote.ts';
import { listVacuumNeed } from '../sql/vacuum-need.ts';
import { chooseTables, freezeShare, isNamed, nameOf, type Chosen, type Verb } from './choose.ts';
import { holderWarnings } from './holders.ts';
import { readScope, type WrittenScope } from './scope.ts';
import type { MaintenancePlan, Task } from './task.ts';

/** Which tables are vacuumed or analyzed, in the order of need, and why; changes nothing. One question for all tables. */
export async function planVacuum(
  context: Pick<JobContext, 'db' | 'settings'>,
  written: WrittenScope,
  verb: Verb,
): Promise<MaintenancePlan> {
  const { db, settings } = context;
  const scope = await readScope(db, written);
  const { skip } = settings.maintenance;
  const isSkipped = (table: string) => skip.some((pattern) => matches(pattern, table));
  const rows = await listVacuumNeed(db, isNamed(scope) ? null : freezeShare);
  const { chosen, leftOut } = chooseTables(rows, scope, verb, isSkipped);
  const warnings = verb === 'analyze' ? [] : await holderWarnings(context);
  return { tasks: chosen.map((item) => taskOf(context, item)), leftOut, warnings };
}

function taskOf({ db, settings }: Pick<JobContext, 'db' | 'settings'>, chosen: Chosen): Task {
  const { row, vacuum, freeze, analyze, reasons } = chosen;
  const target = nameOf(row);
  const verb = vacuum ? 'vacuum' : 'analyze';
  const isTreeAlone = row.kind === 'p' && db.server.versionNum >= 180_000;
  const sql = vacuum ? vacuumSql(target, { freeze, analyze }) : analyzeSql(target, isTreeAlone);
  const change: Change = {
    summary: `${verb} ${displayName(target)}`,
    table: displayName(target),
    kind: 'single',
    lockTimeoutMs: settings.lockTimeoutMs,
    // What a role or the server sets would end it midway.
    statementTimeoutMs: null,
    event: `maintenance_${verb}`,
    steps: [
      {
        sql,
        locks: [{ table: relation(target), mode: 'SHARE UPDATE EXCLUSIVE' }],
        why: reasons.join('; '),
      },
    ],
  };
  return { verb, target, isMeasured: true, why: reasons.join('; '), isLate: row.kind === 'p', change };
}
