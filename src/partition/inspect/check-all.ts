import { durationMs } from '../../config/duration.ts';
import { DbopsError } from '../../errors.ts';
import { listArchiveRows } from '../../sql/archives.ts';
import { listOpenLedger } from '../../sql/ledger.ts';
import { listBrokenIndexes, listLeafDifferences } from '../../sql/partition-checks.ts';
import { listPartitionedTables } from '../../sql/partitions.ts';
import { displayName, ident, relation, visible } from '../../sql/quote.ts';
import { hasRows, listMarkedConstraints, listMarkedTables } from '../../sql/relations.ts';
import { findLastSuccess, findStateVersion } from '../../sql/state.ts';
import { checkArchives } from './check-archives.ts';
import {
  checkBounds,
  checkDetached,
  checkPending,
  checkRunway,
  type Finding,
  type PartitionCheck,
} from './check.ts';
import { creatingMarker } from '../create/child.ts';
import type { PlanContext } from '../context.ts';
import { findBegunConverts } from '../convert/begun.ts';
import { excludeMarker } from '../create/default-partition.ts';
import { currentPoints, loadSets } from '../model/load-sets.ts';
import type { Point } from '../model/key.ts';
import type { PartitionSet } from '../model/set.ts';

export interface CheckResult {
  tables: number;
  findings: Finding[];
}

type Context = Pick<PlanContext, 'db' | 'settings' | 'now'>;

/** Looks at the configured sets, and with `everything` at what no entry names. Reads only; what cannot be read is unknown. */
export async function checkPartitions(context: Context, everything: boolean): Promise<CheckResult> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  const points = await currentPoints(db, sets, context.now);
  const findings: Finding[] = problems.map(({ settings: item, error }) => ({
    check: 'configuration',
    object: item.table,
    severity: 'crit',
    message: error.message,
    mend: error.hint ?? 'correct its entry',
  }));
  for (const set of sets) {
    findings.push(...checkPending(set));
    const current = points.get(set.rootOid);
    if (current === undefined) {
      findings.push(
        unknown(
          'runway',
          set.label,
          'how far its ids have come cannot be told',
          'GRANT SELECT on the sequence of its key',
        ),
      );
      continue;
    }
    const bounds = checkBounds(set, current);
    findings.push(...bounds);
    if (!bounds.some((finding) => finding.check === 'bounds')) findings.push(...checkRunway(set, current));
    findings.push(...(await checkDefaults(context, set)));
  }
  findings.push(...(await findArchiveProblems(context, sets, points)));
  const parents = sets.flatMap((set) => set.branches.map((branch) => branch.oid));
  findings.push(...(await checkLeaves(context, parents)), ...(await checkIndexes(context, parents)));
  if (everything) {
    findings.push(
      ...(await checkConverts(context)),
      ...(await checkLeftovers(context)),
      ...(await checkState(context)),
      ...(await checkUnnamed(context)),
    );
  }
  return { tables: settings.partitions.length, findings };
}

function unknown(check: PartitionCheck, object: string, message: string, mend: string): Finding {
  return { check, object, severity: 'unknown', message, mend };
}

async function checkDefaults(context: Context, set: PartitionSet): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { defaultPartition } of set.branches) {
    if (defaultPartition === undefined) continue;
    const object = displayName(defaultPartition);
    try {
      if (!(await hasRows(context.db, relation(defaultPartition)))) continue;
      findings.push({
        check: 'default-rows',
        object,
        severity: 'warn',
        message: `rows lie in the default partition of ${set.label}: no partition was there for them`,
        mend: `dbops partition drain ${set.label} --from ${object} --mode transaction`,
      });
    } catch (error) {
      if (!(error instanceof DbopsError) || error.exitCode === 3) throw error;
      findings.push(
        unknown(
          'default-rows',
          object,
          `could not be read: ${error.message}`,
          `grant select on ${relation(defaultPartition)} to ${ident(context.db.server.user)};`,
        ),
      );
    }
  }
  return findings;
}

async function checkLeaves(context: Context, parents: number[]): Promise<Finding[]> {
  const rows = await listLeafDifferences(context.db, parents);
  return rows.map((row) => {
    const parts = [
      row.hasOtherOwner ? `owner ${row.owner} instead of ${row.parentOwner}` : undefined,
      row.hasOtherGrants ? 'grants' : undefined,
      row.hasOtherReplicaIdentity ? 'replica identity' : undefined,
      row.hasOtherRowSecurity ? 'row security' : undefined,
    ].filter((part) => part !== undefined);
    return {
      check: 'leaf-differs',
      object: displayName(row),
      severity: 'warn',
      message: `differs from its parent: ${visible(parts.join(', '))}`,
      mend: 'give it what the parent has (ALTER TABLE ... OWNER TO, GRANT, REPLICA IDENTITY)',
    };
  });
}

async function checkIndexes(context: Context, parents: number[]): Promise<Finding[]> {
  const rows = await listBrokenIndexes(context.db, parents);
  return rows.map((row) => ({
    check: 'index',
    object: visible(`${row.schema}.${row.index}`),
    severity: 'warn',
    message:
      row.problem === 'missing'
        ? `${String(row.leavesWithout)} partitions of ${visible(row.table)} lack this index`
        : `the index on ${visible(row.table)} is not valid`,
    mend:
      row.problem === 'missing'
        ? 'CREATE INDEX CONCURRENTLY on each of them, then ALTER INDEX ... ATTACH PARTITION'
        : 'REINDEX INDEX CONCURRENTLY, or attach the indexes of all partitions',
  }));
}

/** A convert that was begun refuses every row past its cutover until it is finished or taken back. */
async function checkConverts(context: Context): Promise<Finding[]> {
  const begun = await findBegunConverts(context.db, context.now);
  return begun.map((row) => {
    const object = displayName({ schema: row.schema, name: row.table });
    const left = row.hoursLeft;
    const when =
      left === null
        ? `at ${row.cutover}`
        : left > 0
          ? `in ${left.toFixed(0)} hours, at ${row.cutover}`
          : `since ${row.cutover}: inserts fail now`;
    return {
      check: 'convert-begun',
      object,
      severity: 'crit',
      message: `a convert was begun and not finished; rows are refused ${when}`,
      mend: `run "dbops partition convert ${object}" again as before, or take it away: dbops partition convert ${object} --undo`,
    };
  });
}

/** What killed runs left behind. */
async function checkLeftovers(context: Context): Promise<Finding[]> {
  const tables = (await listMarkedTables(context.db, creatingMarker)).filter((row) => !row.isPartition);
  const constraints = await listMarkedConstraints(context.db, excludeMarker);
  return [
    ...tables.map((row): Finding => ({
      check: 'leftover',
      object: displayName(row),
      severity: 'warn',
      message: 'a table that an interrupted run made and never attached',
      mend: `dbops partition ensure removes it when its period is due; else: drop table ${relation(row)}`,
    })),
    ...constraints.map((row): Finding => ({
      check: 'leftover',
      object: visible(`${row.schema}.${row.table}`),
      severity: 'crit',
      message: `constraint ${visible(row.constraint)}, left by an interrupted run, makes inserts of its range fail`,
      mend: 'dbops partition ensure',
    })),
  ];
}

/** The ledger, and when ensure last ended well. */
async function checkState(context: Context): Promise<Finding[]> {
  const { db, settings, now } = context;
  const schema = settings.stateSchema;
  try {
    if ((await findStateVersion(db, schema)) === 0) return [neverRun()];
    const last = await findLastSuccess(db, schema, 'partition ensure');
    const findings = checkDetached(await listOpenLedger(db, schema), now);
    if (last === null) return [...findings, neverRun()];
    const hours = (now.getTime() - last.getTime()) / 3_600_000;
    const allowed = durationMs(settings.ensureEvery) / 3_600_000;
    // Half an interval of grace: a run at night that takes a little longer is no finding.
    if (hours <= allowed * 1.5) return findings;
    return [
      ...findings,
      {
        check: 'ensure-overdue',
        object: 'partition ensure',
        severity: 'warn',
        message: `last ended well ${hours.toFixed(0)} hours ago, expected every ${allowed.toFixed(0)}`,
        mend: 'look at its cron job and at "dbops history"',
      },
    ];
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode === 3) throw error;
    return [
      unknown(
        'state',
        schema,
        `the history and ledger could not be read: ${error.message}`,
        readGrant(context),
      ),
    ];
  }
}

/** What the ledger tells of archives that are due, failed, not proven, or in too few stores. */
async function findArchiveProblems(
  { db, settings, now }: Context,
  sets: PartitionSet[],
  points: Map<number, Point | undefined>,
): Promise<Finding[]> {
  const schema = settings.stateSchema;
  try {
    const rows = await listArchiveRows(db, schema, ['verified', 'proven', 'failed']);
    const ledger = rows.length === 0 ? [] : await listOpenLedger(db, schema);
    return sets.flatMap((set) => checkArchives(set, points.get(set.rootOid), { rows, ledger, now }));
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode === 3) throw error;
    const message = `the ledger of archives could not be read: ${error.message}`;
    return [unknown('archive', schema, message, readGrant({ db, settings }))];
  }
}

function readGrant({ db, settings }: Pick<Context, 'db' | 'settings'>): string {
  const [schema, role] = [ident(settings.stateSchema), ident(db.server.user)];
  return `grant usage on schema ${schema} to ${role}; grant select on all tables in schema ${schema} to ${role};`;
}

function neverRun(): Finding {
  return unknown(
    'ensure-overdue',
    'partition ensure',
    'no run of it is recorded in this database',
    'run it from cron: dbops partition ensure',
  );
}

/** Sets in the database that no entry of the configuration names. */
async function checkUnnamed(context: Context): Promise<Finding[]> {
  const { settings, db } = context;
  const named = new Set(settings.partitions.map((item) => relation(item)));
  const tables = await listPartitionedTables(db, null);
  return tables
    .filter((table) => table.parentOid === null && !named.has(relation(table)))
    .map((table) => ({
      check: 'not-configured',
      object: displayName(table),
      severity: 'warn',
      message: 'a partitioned table that the configuration does not name: nobody creates its partitions',
      mend: 'dbops init proposes an entry for it',
    }));
}
