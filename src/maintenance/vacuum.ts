import { matches } from '../config/pattern.ts';
import type { JobContext } from '../partition/context.ts';
import type { Db } from '../pg/connection.ts';
import type { Change } from '../plan/step.ts';
import { analyzeSql, vacuumSql } from '../sql/maintenance.ts';
import type { LockNeed } from '../sql/locks.ts';
import { listReads } from '../sql/maintenance-reads.ts';
import { displayName, relation, type RelationName } from '../sql/quote.ts';
import { listVacuumNeed } from '../sql/vacuum-need.ts';
import {
  chooseTables,
  freezeShare,
  isInScope,
  isNamed,
  nameOf,
  type Chosen,
  type Scope,
  type Verb,
} from './choose.ts';
import { describeLost, findUncounted } from './counting.ts';
import { holderWarnings } from './holders.ts';
import { lookAtTables, type Looked } from './looked.ts';
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
  const { chosen, leftOut, lost } = chooseTables(rows, scope, verb, isSkipped);
  const unknown = isNamed(scope) ? [] : [...(await findUncounted(db)), ...describeLost(lost)];
  const warnings = verb === 'analyze' ? [] : await holderWarnings(context);
  const isNothing = chosen.length + leftOut.length + unknown.length === 0;
  const looked = isNothing ? [await lookAtAll(db, scope, verb)] : [];
  const trees = chosen.filter(({ row }) => row.kind === 'p').map(({ row }) => row.oid);
  const reads = await listReads(db, trees);
  return {
    tasks: chosen.map((item) => {
      const partitions = reads.filter(({ of }) => of === item.row.oid);
      return taskOf(context, item, partitions);
    }),
    leftOut: [...unknown, ...leftOut],
    warnings,
    looked,
  };
}

/** All tables are read only where there is nothing else to tell of. */
async function lookAtAll(db: Db, scope: Scope, verb: Verb): Promise<Looked> {
  const rows = await listVacuumNeed(db, null);
  return lookAtTables(isNamed(scope) ? rows.filter((row) => isInScope(row, scope)) : rows, verb);
}

function taskOf(
  { db, settings }: Pick<JobContext, 'db' | 'settings'>,
  chosen: Chosen,
  partitions: RelationName[],
): Task {
  const { row, vacuum, freeze, analyze, reasons } = chosen;
  const target = nameOf(row);
  const verb = vacuum ? 'vacuum' : 'analyze';
  const isTreeAlone = row.kind === 'p' && db.server.versionNum >= 180_000;
  const sql = vacuum ? vacuumSql(target, { freeze, analyze }) : analyzeSql(target, isTreeAlone);
  const mode = 'SHARE UPDATE EXCLUSIVE' as const;
  const locks: LockNeed[] = [
    { table: relation(target), mode },
    // Alone it reads its partitions; else they are analyzed as well.
    ...partitions.map((partition) => ({
      table: relation(partition),
      mode: isTreeAlone ? ('ACCESS SHARE' as const) : mode,
    })),
  ];
  const change: Change = {
    summary: `${verb} ${displayName(target)}`,
    table: displayName(target),
    kind: 'single',
    lockTimeoutMs: settings.lockTimeoutMs,
    // What a role or the server sets would end it midway.
    statementTimeoutMs: null,
    event: `maintenance_${verb}`,
    steps: [{ sql, locks, why: reasons.join('; ') }],
  };
  return { verb, target, isMeasured: true, why: reasons.join('; '), isLate: row.kind === 'p', change };
}
