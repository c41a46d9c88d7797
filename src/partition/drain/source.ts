import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import { getDrainSource, listLockable, mayDisableTriggers, type DrainSourceRow } from '../../sql/drain.ts';
import { listForeignKeys, listParents, type ForeignKeyRow, type ParentRow } from '../../sql/parents.ts';
import { displayName, ident, relation, visible } from '../../sql/quote.ts';
import { gridOfBranch } from '../model/diagnose.ts';
import type { Grid } from '../model/grid.ts';
import { isOnGrid } from '../model/grid.ts';
import { lastFinite, type Branch, type Partition, type PartitionSet } from '../model/set.ts';

/** How rows leave a partition that has bounds: periods are taken from an end, so that one range remains. */
export type Direction = 'from the upper end' | 'from the lower end';

/** The partition that is drained, with everything that decides how. */
export interface DrainSource {
  set: PartitionSet;
  branch: Branch;
  grid: Grid;
  partition: Partition;
  /** Undefined for a default partition, which has no bounds of its own. */
  direction: Direction | undefined;
  parent: ParentRow;
  facts: DrainSourceRow;
  /** Outgoing and incoming ones of the parent and the root. */
  foreignKeys: ForeignKeyRow[];
  /** The default partition beside a source with bounds: attaching scans it as well. */
  otherDefault: { partition: Partition; heapBytes: number } | undefined;
  /** Other tables of foreign keys that this role may LOCK. */
  lockable: number[];
  /** What a DELETE there would set off, for people; empty when nothing fires. */
  fires: string[];
  /** Triggers are switched off for the move, and foreign keys checked after it. */
  withoutTriggers: boolean;
}

/** Finds the partition by schema.name, or by its name alone where only one is called so. Throws usage. */
export function findPartition(set: PartitionSet, name: string): { branch: Branch; partition: Partition } {
  const all = set.branches.flatMap((branch) =>
    [...branch.partitions, ...(branch.defaultPartition === undefined ? [] : [branch.defaultPartition])].map(
      (partition) => ({ branch, partition }),
    ),
  );
  const exact = all.filter(({ partition }) => `${partition.schema}.${partition.name}` === name);
  const found = exact.length > 0 ? exact : all.filter(({ partition }) => partition.name === name);
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  if (first !== undefined) {
    throw new DbopsError('usage', `${set.label} has several partitions called ${visible(name)}`, {
      hint: `Name it with its schema, such as ${displayName(first.partition)}.`,
    });
  }
  const drainable = all.filter(({ partition }) => partition.range?.from === undefined);
  throw new DbopsError('usage', `${set.label} has no partition called ${visible(name)}`, {
    hint:
      drainable.length === 0
        ? `"dbops partition list ${set.label}" shows its partitions.`
        : `Did you mean ${drainable.map(({ partition }) => displayName(partition)).join(' or ')}?`,
  });
}

/** Reads what must be known of the source, and refuses what cannot be drained. Locks: ACCESS SHARE for an instant. */
export async function loadSource(
  db: Db,
  set: PartitionSet,
  name: string,
  mode: 'transaction' | 'batches',
): Promise<DrainSource> {
  const { branch, partition } = findPartition(set, name);
  if (partition.kind !== 'r') {
    throw new DbopsError(
      'unsupported_partitioning',
      `${displayName(partition)} is not a plain table and cannot be drained`,
    );
  }
  const grid = gridOfBranch(set, branch);
  const direction = directionOf(set, grid, partition);
  const facts = await getDrainSource(db, partition.oid, set.settings.key);
  const [parent] = await listParents(db, [
    { oid: branch.oid, leafOid: lastFinite(branch)?.oid ?? partition.oid },
  ]);
  if (parent === undefined) throw new Error('the parent vanished');
  checkPrivileges(set, parent, partition, facts, db.server.user);
  const keys = await listForeignKeys(db, [...new Set([branch.oid, set.rootOid, partition.oid])]);
  const foreignKeys = keys.filter((key) => key.oid !== partition.oid);
  const other = partition.bound.kind === 'default' ? undefined : branch.defaultPartition;
  const source: DrainSource = {
    set,
    branch,
    grid,
    partition,
    direction,
    parent,
    facts,
    foreignKeys,
    otherDefault:
      other === undefined
        ? undefined
        : { partition: other, heapBytes: (await getDrainSource(db, other.oid, set.settings.key)).heapBytes },
    lockable: await listLockable(
      db,
      foreignKeys.map((key) => key.otherOid),
    ),
    fires: whatFires(facts, foreignKeys),
    withoutTriggers: false,
  };
  refuseAlways(source, keys, mode);
  source.withoutTriggers = source.fires.length > 0;
  if (source.withoutTriggers && !(await mayDisableTriggers(db)))
    throw wouldFire(source, db.server.user, db.server.versionNum);
  return source;
}

/** Which end of its range lies on the grid; a whole period must begin or end there. */
function directionOf(set: PartitionSet, grid: Grid, partition: Partition): Direction | undefined {
  if (partition.bound.kind === 'default') return undefined;
  const { range } = partition;
  if (range?.to !== undefined && isOnGrid(grid, range.to)) return 'from the upper end';
  if (range?.from !== undefined && isOnGrid(grid, range.from)) return 'from the lower end';
  throw new DbopsError(
    'interval_contradicts',
    `${displayName(partition)} has no end on the ${String(set.settings.interval)} grid of ${set.label}, so no whole period can be taken from it`,
    { detail: visible(partition.boundText), hint: 'Check interval and timezone in its entry.' },
  );
}

function checkPrivileges(
  set: PartitionSet,
  parent: ParentRow,
  partition: Partition,
  facts: DrainSourceRow,
  user: string,
): void {
  const owner = parent.isOwner ? (facts.isOwner ? undefined : facts.owner) : parent.owner;
  if (owner !== undefined) {
    throw new DbopsError(
      'privilege_missing',
      `${parent.isOwner ? displayName(partition) : set.label}: role "${user}" does not own it, and attaching and moving rows need that`,
      { hint: `Run as its owner, or: GRANT ${ident(owner)} TO ${ident(user)};` },
    );
  }
  if (!parent.mayCreate) {
    throw new DbopsError(
      'privilege_missing',
      `${set.label}: role "${user}" may not create tables in schema "${visible(parent.leafSchema)}"`,
      { hint: `GRANT CREATE ON SCHEMA ${ident(parent.leafSchema)} TO ${ident(user)};` },
    );
  }
  if (facts.isRowSecurityActive) {
    throw new DbopsError(
      'refused',
      `${displayName(partition)}: row security hides rows from role "${user}", so rows would be left behind`,
      { hint: 'Run as a role with BYPASSRLS.' },
    );
  }
}

const onDeleteNames: Record<string, string> = {
  a: 'NO ACTION: refuses the DELETE',
  r: 'RESTRICT: refuses the DELETE',
  c: 'CASCADE: deletes the rows that point at them',
  n: 'SET NULL: empties the columns that point at them',
  d: 'SET DEFAULT: changes the columns that point at them',
};

/** What a DELETE on the source sets off; the INSERT goes into a table that has no triggers yet. Pure. */
export function whatFires(
  facts: Pick<DrainSourceRow, 'triggers'>,
  foreignKeys: Pick<ForeignKeyRow, 'direction' | 'constraint' | 'otherSchema' | 'otherName' | 'onDelete'>[],
): string[] {
  return [
    ...facts.triggers.map(
      (trigger) =>
        `trigger ${visible(trigger.name)}: ${trigger.timing} delete, for each ${trigger.level}, calls ${visible(trigger.calls)}` +
        (trigger.firesAlways ? ' (ENABLE ALWAYS or REPLICA)' : ''),
    ),
    ...foreignKeys
      .filter((key) => key.direction === 'incoming')
      .map(
        (key) =>
          `foreign key ${visible(key.constraint)} of ${displayName({ schema: key.otherSchema, name: key.otherName })}: ` +
          `on delete ${onDeleteNames[key.onDelete] ?? key.onDelete}`,
      ),
  ];
}

/** What not even session_replication_role helps against. */
function refuseAlways(source: DrainSource, keys: ForeignKeyRow[], mode: 'transaction' | 'batches'): void {
  const { partition, facts, set } = source;
  const label = displayName(partition);
  const incoming = keys.filter((key) => key.direction === 'incoming');
  const direct = incoming.filter((key) => key.oid === partition.oid);
  const refuse = (message: string, detail: string[], hint: string): never => {
    throw new DbopsError('refused', message, { detail: detail.join('\n'), hint });
  };
  const fires = whatFires(facts, keys);
  if (facts.hasDeleteRule) {
    refuse(`${label}: a rule rewrites DELETE on it`, fires, `Drop the rule while the rows move.`);
  }
  if (direct.length > 0) {
    refuse(
      `${label}: foreign keys point at this partition itself, and its rows are about to leave it`,
      whatFires({ triggers: [] }, direct),
      'Drop them, or let them point at the parent.',
    );
  }
  if (facts.triggers.some((trigger) => trigger.firesAlways)) {
    refuse(
      `${label}: triggers fire on DELETE even where session_replication_role is replica`,
      fires,
      `Disable them for the move: ALTER TABLE ${relation(partition)} DISABLE TRIGGER <name>.`,
    );
  }
  if (facts.publications.length > 0) {
    refuse(
      `${label}: publications would tell subscribers of the DELETEs, and of the rows in their new place they would not`,
      facts.publications.map((item) => `publication ${visible(item.name)}`),
      "Publish no DELETEs while the rows move: ALTER PUBLICATION <name> SET (publish = 'insert, update').",
    );
  }
  if (incoming.length > 0 && source.direction !== undefined) {
    refuse(
      `${label}: foreign keys point at ${set.label}, and its bounds can be changed only by a detach, which they refuse`,
      whatFires({ triggers: [] }, incoming),
      'Drop the foreign keys first; they cannot be kept while rows that they need leave the set for a moment.',
    );
  }
  if (incoming.length > 0 && mode === 'batches') {
    refuse(
      `${label}: foreign keys point at ${set.label}, and in batches its rows are out of the set for a while`,
      whatFires({ triggers: [] }, incoming),
      'Use --mode transaction, which moves a period at once.',
    );
  }
}

/** Whether rows of the set point at others by a foreign key. Pure. */
export function hasOutgoing(source: Pick<DrainSource, 'foreignKeys'>): boolean {
  return source.foreignKeys.some((key) => key.direction === 'outgoing');
}

/**
 * Throws refused where the rows point at others. What was moved has no foreign keys until the attach: a DELETE on the
 * other side passes it by, and then the attach finds rows that point at nothing. Not for a drain that was begun already,
 * which can only be ended.
 */
export function refuseOutgoing(source: DrainSource): void {
  const outgoing = source.foreignKeys.filter((key) => key.direction === 'outgoing');
  if (!hasOutgoing(source)) return;
  throw new DbopsError(
    'refused',
    `${displayName(source.partition)}: ${source.set.label} has foreign keys, which the rows do not have while they are out of the set in batches`,
    {
      detail: outgoing
        .map(
          (key) =>
            `foreign key ${visible(key.constraint)} to ${displayName({ schema: key.otherSchema, name: key.otherName })}: ` +
            'what is deleted there would leave rows that cannot be attached',
        )
        .join('\n'),
      hint: 'Use --mode transaction, which moves a period at once.',
    },
  );
}

function wouldFire(source: DrainSource, user: string, versionNum: number): DbopsError {
  const grant =
    versionNum >= 150_000
      ? `GRANT SET ON PARAMETER session_replication_role TO ${ident(user)}; lets this role move the rows without firing them.`
      : 'A superuser may move the rows without firing them.';
  return new DbopsError(
    'refused',
    `${displayName(source.partition)}: moving its rows deletes them there, which would set off ${String(source.fires.length)} ${source.fires.length === 1 ? 'thing' : 'things'}`,
    { detail: source.fires.join('\n'), hint: grant },
  );
}
