import { splitTable } from '../config/settings.ts';
import { DbopsError } from '../errors.ts';
import { withAdvisoryLock } from '../pg/advisory-lock.ts';
import { applyChanges } from '../plan/apply.ts';
import { quietStep, transactionChange, type Change } from '../plan/step.ts';
import { listMembers, type MemberRow } from '../sql/detach.ts';
import { ledgerStateSql, listOpenLedger, type LedgerRow } from '../sql/ledger.ts';
import type { LockNeed } from '../sql/locks.ts';
import { listForeignKeys, type ForeignKeyRow } from '../sql/parents.ts';
import { displayName, literal, relation, visible } from '../sql/quote.ts';
import { findStateVersion } from '../sql/state.ts';
import type { JobContext } from './context.ts';
import { detachedMarker, parseMark } from './marker.ts';
import { forEachTable } from './problems.ts';
import { reconcileChanges } from './reconcile.ts';
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
export async function planDrop(
  context: Omit<JobContext, 'consent'>,
  options: DropOptions,
): Promise<DropPlan> {
  const { db, settings } = context;
  const notes: string[] = [];
  const schema = settings.stateSchema;
  const ledger = (await findStateVersion(db, schema)) === 0 ? [] : await listOpenLedger(db, schema);
  const chosen = options.due
    ? dueRows(context, ledger, options.max, notes)
    : await namedRows(context, ledger, options);
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
    targets.length === 0 ? [] : [...(await stateChanges(db, schema)), ...(await reconcileChanges(context))];
  return { before, targets, notes };
}

type Chosen = Omit<DropTarget, 'changes'>;

function dueRows(
  context: Omit<JobContext, 'consent'>,
  ledger: LedgerRow[],
  max: number,
  notes: string[],
): Chosen[] {
  const perParent = new Map<string, number>();
  const chosen: Chosen[] = [];
  for (const row of ledger) {
    const mark = parseMark(row.comment);
    if (row.state !== 'detached' || !row.exists || row.isAttached) continue;
    if (mark === undefined) {
      notes.push(`${displayName(row)}: its mark was removed, so it is kept`);
      continue;
    }
    if (row.policy !== 'delete' || mark.dropAfter === null) {
      notes.push(`${displayName(row)}: kept; its policy says ${row.policy}, and only --confirm drops it`);
      continue;
    }
    if (mark.dropAfter > context.now) continue;
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
        dropAfter: mark.dropAfter,
        sizeBytes: row.sizeBytes,
      });
  }
  return chosen;
}

async function namedRows(
  context: Omit<JobContext, 'consent'>,
  ledger: LedgerRow[],
  options: DropOptions,
): Promise<Chosen[]> {
  const names = options.partitions.map(splitTable);
  const members = await listMembers(context.db, names);
  return names.map((name, index) => {
    const member = members.find((row) => row.ordinal === index + 1);
    if (member === undefined) {
      throw new DbopsError('table_not_found', `table ${displayName(name)} does not exist`, {
        hint: '"dbops partition list --detached" shows what was detached and not yet dropped.',
      });
    }
    return checkNamed(
      context,
      member,
      ledger.find((row) => row.oid === member.oid),
      options,
    );
  });
}

function checkNamed(
  context: Omit<JobContext, 'consent'>,
  member: MemberRow,
  row: LedgerRow | undefined,
  options: DropOptions,
): Chosen {
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
  const isDue = row?.policy === 'delete' && mark.dropAfter !== null && mark.dropAfter <= context.now;
  if (!isDue && options.confirm !== member.name) {
    const why =
      mark.dropAfter === null
        ? 'no policy makes it due'
        : `it is in quarantine until ${mark.dropAfter.toISOString()}`;
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
  };
}

/** All in one transaction: the table is locked, looked at once more, dropped, and the ledger says so. */
function dropChange(
  context: Omit<JobContext, 'consent'>,
  target: Chosen,
  foreignKeys: ForeignKeyRow[],
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
    `and pg_catalog.starts_with(pg_catalog.obj_description(c.oid, 'pg_class'), ${literal(detachedMarker)})) ` +
    `then raise exception 'it is no longer a detached partition that dbops has marked'; end if; end`;
  return transactionChange({
    summary: `drop ${displayName(target)}, detached from ${visible(target.from)}`,
    table: visible(target.from),
    lockTimeoutMs: context.settings.lockTimeoutMs,
    event: 'partition_dropped',
    fields: { partition: `${target.schema}.${target.name}` },
    steps: [
      quietStep(`lock table ${table} in access exclusive mode`, 'nobody may attach it while it is looked at'),
      quietStep(`do ${literal(guard)}`, 'still detached, still marked, still the same table'),
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
