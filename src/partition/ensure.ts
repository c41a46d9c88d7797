import { DbopsError } from '../errors.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import { applyChanges } from '../plan/apply.ts';
import { prelockStep, quietStep, transactionChange, type Change } from '../plan/step.ts';
import type { LockNeed } from '../sql/locks.ts';
import { listForeignKeys, listParents, type ForeignKeyRow, type ParentRow } from '../sql/parents.ts';
import { ident, literal, relation, visible } from '../sql/quote.ts';
import {
  countInRange,
  hasRows,
  listMarkedConstraints,
  listRelationsNamed,
  type MarkedConstraintRow,
  type RelationRow,
} from '../sql/relations.ts';
import { attachLocks, attachSteps, createSteps, creatingMarker, type NewPartition } from './child.ts';
import type { JobContext } from './context.ts';
import { gridOfBranch } from './diagnose.ts';
import { pointLiteral, type Point } from './key.ts';
import { currentPoints, loadSets } from './load-sets.ts';
import { derivedName } from './naming.ts';
import { finalizeChanges } from './pending.ts';
import { combineProblems, type Problem } from './problems.ts';
import { lastFinite } from './set.ts';
import { wantedPartitions, type Wanted } from './wanted.ts';

/** The CHECK on a default partition that spares the attach its scan; it refuses rows of the range until then. */
export const excludeMarker = 'dbops:excluding';

export interface EnsureOptions {
  tables: string[];
  fillGaps: boolean;
  /** Work on the other tables when one cannot be. */
  keepGoing: boolean;
}

export interface EnsurePlan {
  changes: Change[];
  created: { table: string; partition: string; from: string; to: string }[];
  warnings: string[];
  problems: Problem[];
  /** Tables looked at. */
  tables: number;
}

/**
 * Plans what `ensure` would do. With nothing to do it is five statements whatever the number of tables. Throws the
 * first problem of the configuration, with all others in the detail, unless keepGoing.
 */
export async function planEnsure(
  context: Omit<JobContext, 'consent'>,
  options: EnsureOptions,
): Promise<EnsurePlan> {
  const { db, settings } = context;
  const { sets, problems } = await loadSets(db, settings.partitions);
  const points = await currentPoints(db, sets, context.now);
  const wanted: Wanted[] = [];
  const pending: Change[] = [];
  const all: Problem[] = problems.map(({ settings: item, error }) => ({ table: item.table, error }));
  for (const set of sets) {
    const current = points.get(set.rootOid);
    try {
      if (current === undefined) throw positionUnknown(set.label);
      for (const branch of set.branches) {
        pending.push(...finalizeChanges(branch));
        wanted.push(wantedPartitions(set, branch, gridOfBranch(set, branch), current, options));
      }
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      all.push({ table: set.label, error });
    }
  }
  const warnings = wanted.flatMap((item) => item.warnings);
  const busy = wanted.filter((item) => item.partitions.length > 0);
  const detailed =
    busy.length === 0
      ? { changes: [], created: [], problems: [], warnings: [] }
      : await planCreation(context, busy, points, options);
  const found = [...all, ...detailed.problems];
  if (found.length > 0 && !options.keepGoing) throw combineProblems(found);
  return {
    changes: [...pending, ...detailed.changes],
    created: detailed.created,
    warnings: [...warnings, ...detailed.warnings],
    problems: found,
    tables: settings.partitions.length,
  };
}

function positionUnknown(label: string): DbopsError {
  return new DbopsError('refused', `${label}: how far its ids have come cannot be told`, {
    hint: 'Its key needs a sequence (identity, serial or a default with nextval) that this role may read: GRANT SELECT ON SEQUENCE.',
  });
}

/** Looks up what the new partitions need and orders the changes. Reads the catalog, changes nothing. */
async function planCreation(
  context: Omit<JobContext, 'consent'>,
  wanted: Wanted[],
  points: Map<number, Point | undefined>,
  options: EnsureOptions,
): Promise<Pick<EnsurePlan, 'changes' | 'created' | 'problems' | 'warnings'>> {
  const { db } = context;
  const oids = wanted.map((item) => item.branch.oid);
  const [parents, foreignKeys, relations, leftovers] = [
    await listParents(
      db,
      wanted.map((item) => ({
        oid: item.branch.oid,
        leafOid: (lastFinite(item.branch) ?? item.branch.partitions.at(-1))?.oid ?? null,
      })),
    ),
    await listForeignKeys(db, oids),
    await listRelationsNamed(
      db,
      wanted.flatMap((item) => item.partitions.map((partition) => partition.table)),
    ),
    await listMarkedConstraints(db, excludeMarker),
  ];
  const plan: Pick<EnsurePlan, 'changes' | 'created' | 'problems' | 'warnings'> = {
    changes: [],
    created: [],
    problems: [],
    warnings: [],
  };
  for (const item of wanted) {
    const parent = parents.find((row) => row.oid === item.branch.oid);
    if (parent === undefined) continue;
    try {
      checkPrivileges(item, parent, foreignKeys, db.server.user);
      await planBranch(
        context,
        item,
        points.get(item.set.rootOid) ?? 0n,
        { parent, foreignKeys, relations, leftovers },
        options,
        plan,
      );
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      plan.problems.push({ table: item.set.label, error });
    }
  }
  return plan;
}

interface Facts {
  parent: ParentRow;
  foreignKeys: ForeignKeyRow[];
  relations: RelationRow[];
  leftovers: MarkedConstraintRow[];
}

async function planBranch(
  context: Omit<JobContext, 'consent'>,
  wanted: Wanted,
  current: Point,
  facts: Facts,
  options: EnsureOptions,
  plan: Pick<EnsurePlan, 'changes' | 'created' | 'problems' | 'warnings'>,
): Promise<void> {
  const { db } = context;
  const { set, branch } = wanted;
  const changes: Change[] = [];
  const created: EnsurePlan['created'] = [];
  const { defaultPartition } = branch;
  changes.push(...leftoverConstraints(wanted, facts));
  for (const partition of wanted.partitions) {
    const existing = facts.relations.find(
      (row) => row.schema === partition.table.schema && row.name === partition.table.name,
    );
    if (existing !== undefined) changes.push(await removeLeftover(db, existing, wanted, partition));
    const servedByDefault = defaultPartition !== undefined && partition.from <= current;
    if (servedByDefault && !options.fillGaps) {
      plan.warnings.push(
        `${set.label}: rows from ${set.codec.format(partition.from)} go to the default partition ${visible(defaultPartition.name)} now; ` +
          `--fill-gaps makes their partition, and inserts of that range fail for the moment in between`,
      );
      continue;
    }
    if (defaultPartition !== undefined) await refuseRowsInDefault(db, wanted, partition);
    changes.push(...partitionChanges(context, wanted, partition, facts));
    created.push({
      table: set.label,
      partition: `${partition.table.schema}.${partition.table.name}`,
      from: set.codec.format(partition.from),
      to: set.codec.format(partition.to),
    });
  }
  plan.changes.push(...changes);
  plan.created.push(...created);
}

/** Everything is checked before the first step: an owner of nothing could create the table and then fail at the attach. */
function checkPrivileges(
  wanted: Wanted,
  parent: ParentRow,
  foreignKeys: ForeignKeyRow[],
  user: string,
): void {
  const label = wanted.set.label;
  if (!parent.isOwner) {
    throw new DbopsError(
      'privilege_missing',
      `${label}: role "${user}" does not own it, and ATTACH PARTITION needs that`,
      {
        hint: `Run as its owner, or: GRANT ${ident(parent.owner)} TO ${ident(user)};`,
      },
    );
  }
  if (!parent.mayCreate) {
    throw new DbopsError(
      'privilege_missing',
      `${label}: role "${user}" may not create tables in schema "${parent.leafSchema}"`,
      {
        hint: `GRANT CREATE ON SCHEMA ${ident(parent.leafSchema)} TO ${ident(user)};`,
      },
    );
  }
  const denied = foreignKeys.find(
    (key) => key.oid === parent.oid && key.direction === 'outgoing' && !key.mayReference,
  );
  if (denied !== undefined) {
    const other = relation({ schema: denied.otherSchema, name: denied.otherName });
    throw new DbopsError(
      'privilege_missing',
      `${label}: its foreign key ${visible(denied.constraint)} needs REFERENCES on ${other}`,
      {
        hint: `GRANT REFERENCES ON ${other} TO ${ident(user)};`,
      },
    );
  }
}

/** A table of that name is ours from a killed run (removed when empty), or somebody's: then nothing happens. */
async function removeLeftover(
  db: JobContext['db'],
  row: RelationRow,
  wanted: Wanted,
  partition: NewPartition,
): Promise<Change> {
  const table = relation(row);
  const label = visible(`${row.schema}.${row.name}`);
  const isOurs = row.kind === 'r' && !row.isPartition && row.comment?.startsWith(creatingMarker) === true;
  if (!isOurs) {
    const what = row.isPartition
      ? 'a partition with other bounds'
      : row.comment?.startsWith('dbops:detached') === true
        ? 'a detached partition'
        : 'a relation that is none of its partitions';
    throw new DbopsError('name_collision', `${wanted.set.label}: ${label} exists already and is ${what}`, {
      detail: `the new partition from ${wanted.set.codec.format(partition.from)} to ${wanted.set.codec.format(partition.to)} would be called so`,
      hint:
        row.comment?.startsWith('dbops:detached') === true
          ? `Attach it again with "dbops partition attach ${label} --to ${wanted.set.label}", or drop it.`
          : 'Rename it, or change "naming" in the table\'s entry.',
    });
  }
  if (await hasRows(db, table)) {
    throw new DbopsError(
      'name_collision',
      `${wanted.set.label}: ${label} was left behind by an interrupted run and has rows`,
      {
        hint: `Look at them; "dbops partition attach ${label} --to ${wanted.set.label}" makes it a partition.`,
      },
    );
  }
  return transactionChange({
    summary: `remove ${label}, left behind by an interrupted run`,
    table: wanted.set.label,
    event: 'partition_leftover_removed',
    steps: [
      quietStep(
        `lock table ${table} in access exclusive mode`,
        'nobody may write to it while it is looked at',
      ),
      quietStep(
        `do ${literal(`begin if exists (select from ${table}) then raise exception 'the table has rows now'; end if; end`)}`,
        'it must be empty still',
      ),
      quietStep(`drop table ${table}`, 'made by us, never attached'),
    ],
  });
}

/** A CHECK on the default partition that a killed run left behind refuses rows: it goes first. */
function leftoverConstraints(wanted: Wanted, facts: Facts): Change[] {
  const { defaultPartition } = wanted.branch;
  return facts.leftovers
    .filter((row) => row.tableOid === defaultPartition?.oid)
    .map((row) =>
      transactionChange({
        summary: `remove constraint ${visible(row.constraint)} that an interrupted run left on ${visible(row.table)}`,
        table: wanted.set.label,
        event: 'partition_leftover_removed',
        steps: [
          {
            sql: `alter table ${relation({ schema: row.schema, name: row.table })} drop constraint ${ident(row.constraint)}`,
            locks: [{ table: relation({ schema: row.schema, name: row.table }), mode: 'ACCESS EXCLUSIVE' }],
            why: 'it makes inserts into its range fail',
          },
        ],
      }),
    );
}

/** The attach would fail over them; moving them is another job. */
async function refuseRowsInDefault(
  db: JobContext['db'],
  wanted: Wanted,
  partition: NewPartition,
): Promise<void> {
  const { set, branch } = wanted;
  if (branch.defaultPartition === undefined) return;
  const rows = await countInRange(
    db,
    relation(branch.defaultPartition),
    ident(set.settings.key),
    pointLiteral(set.codec, partition.from),
    pointLiteral(set.codec, partition.to),
  );
  if (rows === 0) return;
  throw new DbopsError(
    'refused',
    `${set.label}: ${String(rows)} rows from ${set.codec.format(partition.from)} to ${set.codec.format(partition.to)} lie in its default partition`,
    {
      hint: `"dbops partition drain ${set.label} --from ${visible(`${branch.defaultPartition.schema}.${branch.defaultPartition.name}`)} --mode transaction --dry-run" shows how they move.`,
    },
  );
}

/** One partition: made in one transaction, attached in another. A crash in between leaves a marked table. */
function partitionChanges(
  context: Omit<JobContext, 'consent'>,
  wanted: Wanted,
  partition: NewPartition,
  facts: Facts,
): Change[] {
  const { db, settings } = context;
  const { set, branch } = wanted;
  const { parent } = facts;
  const label = visible(`${partition.table.schema}.${partition.table.name}`);
  const keys = facts.foreignKeys.filter((key) => key.oid === branch.oid);
  const locks = attachLocks(parent, keys, db.server.versionNum, branch.defaultPartition);
  const range = `from ${set.codec.format(partition.from)} to ${set.codec.format(partition.to)}`;
  const common = { table: set.label, lockTimeoutMs: settings.lockTimeoutMs };
  const create = transactionChange({
    ...common,
    summary: `create ${label} ${range}`,
    event: 'partition_table_created',
    isIntermediate: true,
    steps: createSteps(parent, set.settings.key, set.codec, partition, set.settings.storageParameters),
  });
  const excluding = excludingChanges(context, wanted, partition);
  const attach = transactionChange({
    ...common,
    summary: `attach ${label} to ${set.label} ${range}`,
    event: 'partition_created',
    fields: { partition: `${partition.table.schema}.${partition.table.name}` },
    steps: [...excluding.prelock, ...attachSteps(parent, set.codec, partition, locks), ...excluding.drop],
  });
  return [create, ...excluding.changes, attach];
}

/**
 * The attach scans a default partition under ACCESS EXCLUSIVE unless a validated CHECK on it excludes the range. The
 * CHECK refuses rows of the range until the attach, so the time between is kept short.
 */
function excludingChanges(
  context: Omit<JobContext, 'consent'>,
  wanted: Wanted,
  partition: NewPartition,
): { changes: Change[]; prelock: Change['steps']; drop: Change['steps'] } {
  const { set, branch } = wanted;
  if (branch.defaultPartition === undefined) return { changes: [], prelock: [], drop: [] };
  const table = relation(branch.defaultPartition);
  const name = ident(derivedName('dbops_exclude', partition.table.schema, partition.table.name));
  const key = ident(set.settings.key);
  const from = pointLiteral(set.codec, partition.from);
  const to = pointLiteral(set.codec, partition.to);
  const exclusive: LockNeed[] = [{ table, mode: 'ACCESS EXCLUSIVE' }];
  const prelock = [prelockStep(table, context.db.server.deadlockTimeoutMs)];
  const label = visible(`${branch.defaultPartition.schema}.${branch.defaultPartition.name}`);
  return {
    prelock,
    changes: [
      transactionChange({
        summary: `exclude ${set.codec.format(partition.from)} to ${set.codec.format(partition.to)} from ${label}`,
        table: set.label,
        lockTimeoutMs: context.settings.lockTimeoutMs,
        event: 'default_partition_excluded',
        isIntermediate: true,
        steps: [
          ...prelock,
          {
            sql: `alter table ${table} add constraint ${name} check (${key} is null or ${key} < ${from} or ${key} >= ${to}) not valid`,
            locks: exclusive,
            why: 'from here until the attach, rows of this range are refused',
          },
          quietStep(
            `comment on constraint ${name} on ${table} is ${literal(excludeMarker)}`,
            'so that the next run finds it',
          ),
        ],
      }),
      transactionChange({
        summary: `validate that ${label} holds no such rows`,
        table: set.label,
        lockTimeoutMs: context.settings.lockTimeoutMs,
        statementTimeoutMs: null,
        event: 'default_partition_validated',
        isIntermediate: true,
        steps: [
          {
            sql: `alter table ${table} validate constraint ${name}`,
            locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }],
            why: 'reads the default partition while readers and writers go on',
          },
        ],
      }),
    ],
    drop: [
      {
        sql: `alter table ${table} drop constraint ${name}`,
        locks: exclusive,
        why: 'the new partition takes the range over',
      },
    ],
  };
}

export interface EnsureResult extends Omit<EnsurePlan, 'changes'> {
  changes: number;
}

/**
 * Creates what is missing. With nothing to do it takes no lock at all; else one run at a time does the work (advisory
 * lock "ensure"), planning once more under it. Throws lock_busy, lock_timeout, or the problems of single tables.
 */
export async function ensure(context: JobContext, options: EnsureOptions): Promise<EnsureResult> {
  const first = await planEnsure(context, options);
  if (first.changes.length === 0) return { ...first, changes: 0 };
  const { db, waitMs, signal } = context;
  return await withAdvisoryLock(db, 'ensure', { waitMs, signal }, async () => {
    const plan = await planEnsure(context, options);
    if (plan.changes.length === 0) return { ...plan, changes: 0 };
    await context.history.begin(db, plan.created);
    await applyChanges(db, plan.changes, context.applied, {
      log: context.log,
      signal,
      deadlineMs: context.settings.lockDeadlineMs,
    });
    return { ...plan, changes: plan.changes.length };
  });
}
