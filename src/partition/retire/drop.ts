import { durationMs } from '../../config/duration.ts';
import { splitTable } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import { withAdvisoryLock } from '../../pg/advisory-lock.ts';
import { applyChanges } from '../../plan/apply.ts';
import { prelockStep, quietStep, transactionChange, type Change, type Step } from '../../plan/step.ts';
import { listMembers, type MemberRow } from '../../sql/detach.ts';
import { ledgerStateSql, listOpenLedger, type LedgerRow } from '../../sql/ledger.ts';
import type { LockNeed } from '../../sql/locks.ts';
import { listForeignKeys, type ForeignKeyRow } from '../../sql/parents.ts';
import { displayName, literal, relation, visible } from '../../sql/quote.ts';
import type { JobContext, PlanContext } from '../context.ts';
import { loadSets } from '../model/load-sets.ts';
import { parseMark, type DetachedMark } from './marker.ts';
import { forEachTable } from '../problems.ts';
import { reconcileChanges } from './reconcile.ts';
import { policyOf } from '../model/retention.ts';
import { setOfParent, type PartitionSet } from '../model/set.ts';
import { stateChanges } from './state-changes.ts';

export interface DropOptions {
  partitions: string[];
  due: boolean;
  max: number;
  /** The name that was typed once more. */
  confirm: string | undefined;
}

export interface DropTarget {
  schema: string;
  name: string;
  oid: number;
  from: string;
  bounds: string;
  dropAfter: Date | null;
  sizeBytes: number | null;
  /** Its mark, letter by letter: the drop compares it once more. */
  comment: string;
  changes: Change[];
}

export interface DropPlan {
  before: Change[];
  targets: DropTarget[];
  notes: string[];
}

/**
 * Plans the drop of detached partitions: only what is marked, still detached, and either due by the policy and past its
 * date, or confirmed by its name. Changes nothing.
 */
export async function planDrop(context: PlanContext, options: DropOptions): Promise<DropPlan> {
  const { db, settings } = context;
  const notes: string[] = [];
  const schema = settings.stateSchema;
  const ledger = await listOpenLedger(db, schema);
  const { sets } = await loadSets(db, settings.partitions);
  const facts = { context, ledger, sets };
  const chosen = options.due ? dueRows(facts, options.max, notes) : await namedRows(facts, options);
  const foreignKeys =
    chosen.length === 0
      ? []
      : await listForeignKeys(
          db,
          chosen.map((item) => item.oid),
        );
  const targets = chosen.map((item) => ({
    ...item,
    changes: [
      dropChange(
        context,
        item,
        foreignKeys.filter((key) => key.oid === item.oid),
      ),
    ],
  }));
  const before =
    targets.length === 0
      ? []
      : [...(await stateChanges(db, schema)), ...(await reconcileChanges(context, sets))];
  return { before, targets, notes };
}

/** A detached partition that may go. */
export type Chosen = Omit<DropTarget, 'changes'>;

interface Facts {
  context: PlanContext;
  ledger: LedgerRow[];
  sets: PartitionSet[];
}

/**
 * From when the policy of today allows the drop: the later of what the mark says and what the configuration says now.
 * Undefined when it does not: the policy is the consent, and it may have been taken back since the detach.
 */
function dueFrom({ sets }: Facts, row: LedgerRow | undefined, mark: DetachedMark): Date | undefined {
  if (row?.policy !== 'delete' || mark.dropAfter === null) return undefined;
  const set = setOfParent(sets, row.parent);
  if (set === undefined || set.settings.retention === undefined || policyOf(set) !== 'delete')
    return undefined;
  const quarantined = mark.at.getTime() + durationMs(set.settings.quarantine);
  return new Date(Math.max(mark.dropAfter.getTime(), quarantined));
}

function dueRows(facts: Facts, max: number, notes: string[]): Chosen[] {
  const { context, ledger } = facts;
  const perParent = new Map<string, number>();
  const chosen: Chosen[] = [];
  for (const row of ledger) {
    const mark = parseMark(row.comment);
    if (row.state !== 'detached' || !row.exists || row.isAttached) continue;
    if (mark === undefined) {
      notes.push(`${displayName(row)}: its mark was removed, so it is kept`);
      continue;
    }
    // Never due by itself: "list --detached" shows it, and "check" when it is forgotten.
    if (row.policy !== 'delete' || mark.dropAfter === null) continue;
    const from = dueFrom(facts, row, mark);
    if (from === undefined) {
      notes.push(
        `${displayName(row)}: kept, since the configuration no longer says "then: delete" for its table`,
      );
      continue;
    }
    if (from > context.now) continue;
    const count = (perParent.get(row.parent) ?? 0) + 1;
    perParent.set(row.parent, count);
    if (count > max)
      notes.push(
        `${displayName(row)}: due, but more than ${String(max)} of its table; --max lifts the limit`,
      );
    else
      chosen.push({
        schema: row.schema,
        name: row.name,
        oid: row.oid,
        from: row.parent,
        bounds: row.bounds,
        dropAfter: from,
        sizeBytes: row.sizeBytes,
        comment: row.comment ?? '',
      });
  }
  return chosen;
}

async function namedRows(facts: Facts, options: DropOptions): Promise<Chosen[]> {
  const { context } = facts;
  const names = options.partitions.map(splitTable);
  const members = await listMembers(context.db, names);
  return names.map((name, index) => {
    const member = members.find((row) => row.ordinal === index + 1);
    if (member === undefined) {
      throw new DbopsError('table_not_found', `table ${displayName(name)} does not exist`, {
        hint: '"dbops partition list --detached" shows what was detached and not yet dropped.',
      });
    }
    return checkNamed(facts, member, options);
  });
}

function checkNamed(facts: Facts, member: MemberRow, options: DropOptions): Chosen {
  const { now } = facts.context;
  const row = facts.ledger.find((item) => item.oid === member.oid);
  const label = displayName(member);
  if (member.parentOid !== null) {
    throw new DbopsError(
      'refused',
      `${label} is attached to ${visible(`${member.parentSchema ?? ''}.${member.parentName ?? ''}`)}`,
      {
        hint: `Detach it first: dbops partition detach ${label}.`,
      },
    );
  }
  const mark = parseMark(member.comment);
  if (mark === undefined) {
    throw new DbopsError('refused', `${label} was not detached by dbops: it has no mark`, {
      hint: 'dbops drops only partitions that it has detached; drop other tables with psql.',
    });
  }
  const from = dueFrom(facts, row, mark);
  const isDue = from !== undefined && from <= now;
  if (!isDue && options.confirm !== member.name) {
    const why =
      from === undefined ? 'no policy makes it due' : `it is in quarantine until ${from.toISOString()}`;
    throw new DbopsError('confirmation_required', `${label} is not dropped: ${why}`, {
      hint: `To drop it all the same, for good, say its name: --confirm ${visible(member.name)}`,
    });
  }
  return {
    schema: member.schema,
    name: member.name,
    oid: member.oid,
    from: mark.from,
    bounds: mark.bounds,
    dropAfter: mark.dropAfter,
    sizeBytes: row?.sizeBytes ?? null,
    comment: member.comment ?? '',
  };
}

/**
 * All in one transaction: the table is locked, looked at once more, dropped, and the ledger says so. `proof` is made
 * under the lock, before the drop, and may read the whole table: nobody reaches it through its parent any more.
 */
export function dropChange(
  context: PlanContext,
  target: Chosen,
  foreignKeys: ForeignKeyRow[],
  proof: Step[] = [],
): Change {
  const table = relation(target);
  const locks: LockNeed[] = [{ table, mode: 'ACCESS EXCLUSIVE' }];
  for (const key of foreignKeys) {
    locks.push({
      table: relation({ schema: key.otherSchema, name: key.otherName }),
      mode: 'ACCESS EXCLUSIVE',
    });
  }
  const guard =
    `begin if not exists (select from pg_catalog.pg_class as c where c.oid = ${String(target.oid)} and not c.relispartition ` +
    `and c.oid = ${literal(table)}::pg_catalog.regclass ` +
    `and pg_catalog.obj_description(c.oid, 'pg_class') = ${literal(target.comment)}) ` +
    `then raise exception 'it is no longer the detached partition that was planned'; end if; end`;
  return transactionChange({
    summary: `drop ${displayName(target)}, detached from ${visible(target.from)}`,
    table: visible(target.from),
    lockTimeoutMs: context.settings.lockTimeoutMs,
    ...(proof.length === 0 ? {} : { statementTimeoutMs: null }),
    event: 'partition_dropped',
    fields: { partition: `${target.schema}.${target.name}` },
    steps: [
      prelockStep(table, context.db.server.deadlockTimeoutMs),
      quietStep(`lock table ${table} in access exclusive mode`, 'nobody may attach it while it is looked at'),
      quietStep(`do ${literal(guard)}`, 'still detached, still marked, still the same table'),
      ...proof,
      {
        sql: `drop table ${table}`,
        locks,
        why: 'its foreign keys make the drop lock the tables they point to',
      },
      quietStep(
        ledgerStateSql(context.settings.stateSchema, target.oid, 'dropped'),
        'the ledger says the same',
      ),
    ],
  });
}

/**
 * Drops what `replan` names, planned once more under the advisory lock "retention". A table whose lock is not to be had
 * does not stop the others.
 */
export async function applyDrop(context: JobContext, replan: () => Promise<DropPlan>): Promise<DropPlan> {
  const { db, waitMs, signal, settings, log } = context;
  return await withAdvisoryLock(db, 'retention', { waitMs, signal }, async () => {
    const plan = await replan();
    if (plan.targets.length === 0) return plan;
    const options = { log, signal, deadlineMs: settings.lockDeadlineMs };
    await applyChanges(db, plan.before, context.applied, options);
    await context.history.begin(db, plan.targets.map(displayName));
    await forEachTable(plan.targets, displayName, (target) =>
      applyChanges(db, target.changes, context.applied, options),
    );
    return plan;
  });
}
