import { DbopsError } from '../../errors.ts';
import { quietStep, transactionChange, type Change } from '../../plan/step.ts';
import { listForeignKeys, listParents, type ForeignKeyRow, type ParentRow } from '../../sql/parents.ts';
import { ident, literal, relation, visible } from '../../sql/quote.ts';
import { hasRows, listRelationsNamed, type RelationRow } from '../../sql/relations.ts';
import {
  attachLocks,
  attachSteps,
  createSteps,
  creatingMarker,
  drainingMarker,
  type NewPartition,
} from './child.ts';
import type { JobContext, PlanContext } from '../context.ts';
import { excludingChanges, refuseRowsInDefault } from './default-partition.ts';
import type { Problem } from '../problems.ts';
import { lastFinite } from '../model/set.ts';
import type { Wanted } from './wanted.ts';

/** A partition that will be made, for people and --json. */
export interface CreatedPartition {
  table: string;
  partition: string;
  from: string;
  to: string;
}

/** What is to be made, checked; the changes themselves are built table by table, since thousands of them are large. */
export interface CreationPlan {
  created: CreatedPartition[];
  warnings: string[];
  problems: Problem[];
  /** The changes of one set, by its label. */
  changesOf: (label: string) => Change[];
}

/** Looks up what the new partitions need, and what is in their way. Reads the catalog, changes nothing. */
export async function planCreation(context: PlanContext, wanted: Wanted[]): Promise<CreationPlan> {
  const { db } = context;
  const oids = wanted.map((item) => item.branch.oid);
  const [parents, foreignKeys, relations] = [
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
  ];
  const checked: CheckedBranch[] = [];
  const plan: CreationPlan = {
    created: [],
    warnings: [],
    problems: [],
    changesOf: (label) =>
      checked
        .filter((item) => item.wanted.set.label === label)
        .flatMap((item) => branchChanges(context, item)),
  };
  for (const item of wanted) {
    const parent = parents.find((row) => row.oid === item.branch.oid);
    if (parent === undefined) continue;
    try {
      checkPrivileges(item, parent, foreignKeys, db.server.user);
      const branch = await checkBranch(context, item, { parent, foreignKeys, relations }, plan.warnings);
      checked.push(branch);
      plan.created.push(...branch.partitions.map((partition) => describeCreated(item, partition)));
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
}

/** A branch whose new partitions nothing stands in the way of. */
interface CheckedBranch {
  wanted: Wanted;
  facts: Facts;
  partitions: NewPartition[];
  /** Tables of those names that an interrupted run left behind, empty. */
  removals: RelationRow[];
}

async function checkBranch(
  context: PlanContext,
  wanted: Wanted,
  facts: Facts,
  warnings: string[],
): Promise<CheckedBranch> {
  const { db } = context;
  const { set, branch } = wanted;
  const checked: CheckedBranch = { wanted, facts, partitions: [], removals: [] };
  const named = new Map(facts.relations.map((row) => [relation(row), row]));
  for (const partition of wanted.partitions) {
    const existing = named.get(relation(partition.table));
    if (existing?.comment?.startsWith(drainingMarker) === true) {
      warnings.push(
        `${set.label}: ${visible(partition.table.name)} is being filled by "partition drain", which attaches it; left alone`,
      );
      continue;
    }
    if (existing !== undefined) {
      await refuseUnlessLeftover(db, existing, wanted, partition);
      checked.removals.push(existing);
    }
    if (branch.defaultPartition !== undefined) await refuseRowsInDefault(db, wanted, partition);
    checked.partitions.push(partition);
  }
  return checked;
}

function branchChanges(context: PlanContext, checked: CheckedBranch): Change[] {
  const { wanted, facts } = checked;
  const { label } = wanted.set;
  return [
    ...checked.removals.map((row) => removeTable(relation(row), visible(`${row.schema}.${row.name}`), label)),
    ...checked.partitions.flatMap((partition) => partitionChanges(context, wanted, partition, facts)),
  ];
}

function describeCreated({ set }: Wanted, partition: NewPartition): CreatedPartition {
  return {
    table: set.label,
    partition: `${partition.table.schema}.${partition.table.name}`,
    from: set.codec.format(partition.from),
    to: set.codec.format(partition.to),
  };
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
async function refuseUnlessLeftover(
  db: JobContext['db'],
  row: RelationRow,
  wanted: Wanted,
  partition: NewPartition,
): Promise<void> {
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
        hint: `Look at them; "dbops partition attach ${label} --to ${wanted.set.label} --from ... --until ..." makes it a partition.`,
      },
    );
  }
}

/** Takes away a table that was made and never attached, unless somebody has put rows into it. */
function removeTable(table: string, label: string, setLabel: string): Change {
  return transactionChange({
    summary: `remove ${label}, left behind by an interrupted run`,
    table: setLabel,
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

/** One partition: made in one transaction, attached in another. A crash in between leaves a marked table. */
function partitionChanges(
  context: PlanContext,
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
    undo: removeTable(relation(partition.table), label, set.label),
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
