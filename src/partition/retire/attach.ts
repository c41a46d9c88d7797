import { splitTable } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { applyChanges } from '../../plan/apply.ts';
import { prelockStep, quietStep, transactionChange, type Change, type Step } from '../../plan/step.ts';
import { listMembers, listValidChecks, type MemberRow } from '../../sql/detach.ts';
import { ledgerStateSql } from '../../sql/ledger.ts';
import { listForeignKeys } from '../../sql/parents.ts';
import { listPartitionedTables, listPartitions, type PartitionedTableRow } from '../../sql/partitions.ts';
import { displayName, ident, literal, relation, visible } from '../../sql/quote.ts';
import { findStateVersion } from '../../sql/state.ts';
import { parseBound, type BoundValue } from '../model/bounds.ts';
import { attachLocks, boundConstraint } from '../create/child.ts';
import type { JobContext, PlanContext } from '../context.ts';
import { parseMark } from './marker.ts';

export interface AttachOptions {
  partition: string;
  to: string;
  from: string | undefined;
  until: string | undefined;
}

export interface AttachPlan {
  table: string;
  partition: string;
  bounds: string;
  rootOid: number;
  changes: Change[];
}

/** Plans to make a table a partition (again): its bounds come from its mark, or from --from and --until. */
export async function planAttach(context: PlanContext, options: AttachOptions): Promise<AttachPlan> {
  const { db } = context;
  const [name, target] = [splitTable(options.partition), splitTable(options.to)];
  const members = await listMembers(db, [name, target]);
  const member = members.find((row) => row.ordinal === 1);
  const parentMember = members.find((row) => row.ordinal === 2);
  if (member === undefined || parentMember === undefined) {
    throw new DbopsError(
      'table_not_found',
      `table ${displayName(member === undefined ? name : target)} does not exist`,
      {
        hint: '"dbops partition list --detached" shows what was detached and not yet dropped.',
      },
    );
  }
  const parent = (await listPartitionedTables(db, [parentMember.oid]))[0];
  if (parent === undefined)
    throw new DbopsError('not_partitioned', `table ${displayName(target)} is not partitioned`);
  const key = checkPair(db.server.user, member, parentMember, parent);
  const range = boundsFor(member, options);
  await refuseTwin(context, parentMember, range);
  return {
    table: displayName(parent),
    partition: displayName(member),
    bounds: range.clause,
    rootOid: parentMember.rootOid,
    changes: await attachChanges(context, member, parent, key, range),
  };
}

function checkPair(
  user: string,
  member: MemberRow,
  parentMember: MemberRow,
  parent: PartitionedTableRow,
): string {
  const label = displayName(member);
  if (member.parentOid !== null) {
    throw new DbopsError(
      'refused',
      `${label} is attached to ${visible(`${member.parentSchema ?? ''}.${member.parentName ?? ''}`)} already`,
    );
  }
  if (!parentMember.isOwner || !member.isOwner) {
    const foreign = member.isOwner ? parentMember : member;
    throw new DbopsError(
      'privilege_missing',
      `role "${user}" does not own ${displayName(foreign)}, and ATTACH PARTITION needs that`,
      {
        hint: `Run as its owner, or grant its owner's role to ${ident(user)}.`,
      },
    );
  }
  if (parent.strategy !== 'r' || parent.key === null || parent.keyColumns !== 1) {
    throw new DbopsError(
      'unsupported_partitioning',
      `${displayName(parent)} is not partitioned by range over one column`,
    );
  }
  return parent.key;
}

interface AttachRange {
  from: BoundValue;
  to: BoundValue;
  clause: string;
}

function boundsFor(member: MemberRow, options: AttachOptions): AttachRange {
  if (options.from !== undefined || options.until !== undefined) {
    const value = (text: string | undefined, open: BoundValue): BoundValue =>
      text === undefined ? open : { kind: 'value', text };
    return withClause(value(options.from, { kind: 'minvalue' }), value(options.until, { kind: 'maxvalue' }));
  }
  const bound = parseBound(parseMark(member.comment)?.bounds ?? '');
  const [from, to] = bound.kind === 'range' ? [bound.from[0], bound.to[0]] : [undefined, undefined];
  if (from === undefined || to === undefined) {
    throw new DbopsError('usage', `${displayName(member)} has no mark that tells its bounds`, {
      hint: 'Give them: --from 2026-01-01 --until 2026-02-01.',
    });
  }
  return withClause(from, to);
}

function withClause(from: BoundValue, to: BoundValue): AttachRange {
  return { from, to, clause: `for values from (${valueSql(from)}) to (${valueSql(to)})` };
}

function valueSql(value: BoundValue): string {
  return value.kind === 'value' ? literal(value.text) : value.kind;
}

/** The server refuses an overlap too; here the partition in the way is named. */
async function refuseTwin(context: PlanContext, parent: MemberRow, range: AttachRange): Promise<void> {
  const twin = (await listPartitions(context.db, [parent.oid])).find((row) => {
    const bound = parseBound(row.bound);
    return bound.kind === 'range' && sameValue(bound.from[0], range.from) && sameValue(bound.to[0], range.to);
  });
  if (twin === undefined) return;
  throw new DbopsError('bounds_overlap', `${displayName(twin)} has these bounds already`, {
    detail: twin.bound,
    hint: 'Detach it first, or attach this table for another range.',
  });
}

function sameValue(a: BoundValue | undefined, b: BoundValue): boolean {
  return a?.kind === b.kind && (a.kind !== 'value' || b.kind !== 'value' || a.text === b.text);
}

async function attachChanges(
  context: PlanContext,
  member: MemberRow,
  parent: PartitionedTableRow,
  key: string,
  range: AttachRange,
): Promise<Change[]> {
  const { db, settings } = context;
  const table = relation(member);
  const label = displayName(parent);
  const checks = await listValidChecks(db, member.oid);
  const isProven = checks.some((check) => impliesRange(check.definition, range));
  const ours = checks.some((check) => check.name === boundConstraint) || !isProven;
  const defaultPartition = await defaultOf(db, parent);
  const locks = attachLocks(
    parent,
    await listForeignKeys(db, [parent.oid]),
    db.server.versionNum,
    defaultPartition,
  );
  const steps: Step[] = [
    ...(defaultPartition === undefined
      ? []
      : [prelockStep(relation(defaultPartition), db.server.deadlockTimeoutMs)]),
    {
      sql: `alter table ${relation(parent)} attach partition ${table} ${range.clause}`,
      locks,
      why: 'the CHECK spares it a scan; readers and writers of the parent go on',
    },
    ...(ours
      ? [quietStep(`alter table ${table} drop constraint ${boundConstraint}`, 'the bound says the same now')]
      : []),
    ...(parseMark(member.comment) === undefined
      ? []
      : [quietStep(`comment on table ${table} is null`, 'no longer to be dropped')]),
    ...((await findStateVersion(db, settings.stateSchema)) === 0
      ? []
      : [
          quietStep(
            ledgerStateSql(settings.stateSchema, member.oid, 'attached again'),
            'the ledger says the same',
          ),
        ]),
  ];
  const attach = transactionChange({
    summary: `attach ${displayName(member)} to ${label} ${range.clause}`,
    table: label,
    lockTimeoutMs: settings.lockTimeoutMs,
    // A default partition is scanned for rows of the range.
    ...(defaultPartition === undefined ? {} : { statementTimeoutMs: 5000 }),
    event: 'partition_attached',
    fields: { partition: `${member.schema}.${member.name}` },
    steps,
  });
  return isProven
    ? [attach]
    : [...proveChanges(label, member, key, range, db.server.deadlockTimeoutMs), attach];
}

/** The CHECK that makes the attach scan nothing: added without a scan, validated while readers and writers go on. */
function proveChanges(
  label: string,
  member: MemberRow,
  key: string,
  range: AttachRange,
  deadlockTimeoutMs: number,
): Change[] {
  const table = relation(member);
  const column = ident(key);
  const parts = [`${column} is not null`];
  if (range.from.kind === 'value') parts.push(`${column} >= ${literal(range.from.text)}`);
  if (range.to.kind === 'value') parts.push(`${column} < ${literal(range.to.text)}`);
  const step = (sql: string, why: string): Step => ({
    sql,
    locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }],
    why,
  });
  return [
    transactionChange({
      summary: `add a CHECK of its bounds to ${displayName(member)}`,
      table: label,
      event: 'partition_bound_added',
      isIntermediate: true,
      steps: [
        prelockStep(table, deadlockTimeoutMs),
        {
          sql: `alter table ${table} drop constraint if exists ${boundConstraint}, add constraint ${boundConstraint} check (${parts.join(' and ')}) not valid`,
          locks: [{ table, mode: 'ACCESS EXCLUSIVE' }],
          why: 'rows outside the bounds are refused from here on',
        },
      ],
    }),
    transactionChange({
      summary: `validate the bounds of ${displayName(member)}`,
      table: label,
      statementTimeoutMs: null,
      event: 'partition_bound_validated',
      isIntermediate: true,
      steps: [
        step(
          `alter table ${table} validate constraint ${boundConstraint}`,
          'reads the table while others use it',
        ),
      ],
    }),
  ];
}

/** A validated CHECK that names both ends as the bound does was left by the detach. A wrong guess costs a scan. */
function impliesRange(definition: string, range: AttachRange): boolean {
  const names = (value: BoundValue) =>
    value.kind !== 'value' ||
    definition.includes(literal(value.text)) ||
    definition.includes(` ${value.text})`);
  return definition.includes('IS NOT NULL') && names(range.from) && names(range.to);
}

async function defaultOf(
  db: JobContext['db'],
  parent: PartitionedTableRow,
): Promise<{ schema: string; name: string } | undefined> {
  return (await listPartitions(db, [parent.oid])).find((row) => row.bound === 'DEFAULT');
}

/** Executes an attach under the lock of the partitioned table, planned once more there. */
export async function applyAttach(
  context: JobContext,
  first: AttachPlan,
  replan: () => Promise<AttachPlan>,
): Promise<void> {
  const { db, waitMs, signal, settings, log } = context;
  await withAdvisoryLock(db, { table: first.rootOid, name: first.table }, { waitMs, signal }, async () => {
    const plan = await replan();
    await context.history.begin(db, [plan.partition]);
    await applyChanges(db, plan.changes, context.applied, {
      log,
      signal,
      deadlineMs: settings.lockDeadlineMs,
    });
  });
}
