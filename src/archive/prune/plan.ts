import { DbopsError } from '../../errors.ts';
import { formatDuration } from '../../config/duration.ts';
import { quietStep, transactionChange, type Change } from '../../plan/step.ts';
import type { JobContext } from '../../partition/context.ts';
import { loadSets } from '../../partition/model/load-sets.ts';
import { coldCutoff } from '../../partition/model/retention.ts';
import { setOfParent, type PartitionSet } from '../../partition/model/set.ts';
import { stateChanges } from '../../partition/retire/state-changes.ts';
import { listArchiveSources, type ArchiveSourceRow } from '../../sql/archive-catalogue.ts';
import { archiveStateSql, listArchiveRows, type ArchiveRow } from '../../sql/archives.ts';
import { displayName, relation, visible, type RelationName } from '../../sql/quote.ts';
import { archiveStates, isChosen, partitionOf, tableOf } from '../list/lines.ts';
import { planSweep, type SweepPlan } from './sweep.ts';
import type { Store } from '../../storage/store.ts';
import { refuseNoId } from '../../catalogue/stored.ts';

export interface PruneOptions {
  /** Tables by name; empty: all that are configured. */
  tables: RelationName[];
  /** Archives by id instead of those that are past their age. */
  ids: string[];
  /** The id that was typed once more. */
  confirm: string | undefined;
  /** At most so many of one table. */
  max: number;
}

export interface PruneTarget {
  row: ArchiveRow;
  reason: string;
  change: Change;
}

export interface PrunePlan {
  before: Change[];
  targets: PruneTarget[];
  sweep: SweepPlan;
  notes: string[];
}

export interface PruneContext extends JobContext {
  openStore: (name: string) => Promise<Store>;
}

/** Clocks of two hosts are never quite the same. */
const clockToleranceMs = 5 * 60_000;

/**
 * Plans the removal of archives that are past their total age, by the upper bound of their partition, and whose source is
 * gone; and of what killed runs left in the stores. Changes nothing. Throws refused when something would be removed by a
 * clock that is behind what was archived, confirmation_required for a named archive that no policy makes due.
 */
export async function planPrune(context: PruneContext, options: PruneOptions): Promise<PrunePlan> {
  const { db, settings, now } = context;
  const schema = settings.stateSchema;
  const rows = await listArchiveRows(db, schema, archiveStates);
  const sources = new Map((await listArchiveSources(db, schema)).map((row) => [row.id, row]));
  const { sets, problems } = await loadSets(db, settings.partitions);
  const notes = problems.map((item) => `${item.error.message}: nothing of it is pruned`);
  const isNamed = options.ids.length > 0;
  const sweep: SweepPlan = isNamed
    ? { remains: [], uploads: [], ids: [], notes: [] }
    : await planSweep(context, rows);
  const facts: Facts = { context, sets, sources, options, notes };
  const chosen = isNamed ? named(facts, rows) : due(facts, rows);
  const targets = chosen.map(({ row, reason }) => ({
    row,
    reason,
    change: expireChange(schema, row, reason),
  }));
  const isIdle = targets.length + sweep.remains.length + sweep.uploads.length === 0;
  const behind = clockBehind(now, rows, sweep.ids);
  if (behind !== undefined && !isIdle) throw behind;
  if (behind !== undefined) notes.push(behind.message);
  const before = targets.length === 0 ? [] : await stateChanges(db, schema);
  return { before, targets, sweep, notes: [...notes, ...sweep.notes] };
}

interface Facts {
  context: PruneContext;
  sets: PartitionSet[];
  sources: Map<string, ArchiveSourceRow>;
  options: PruneOptions;
  notes: string[];
}

interface Chosen {
  row: ArchiveRow;
  reason: string;
}

/** A clock that was set back makes nothing due that is not; one behind its own archives is not to be believed at all. */
function clockBehind(now: Date, rows: ArchiveRow[], ids: string[]): DbopsError | undefined {
  const times = [
    ...rows.flatMap((row) => [row.createdAt, row.verifiedAt ?? row.createdAt]),
    ...ids.flatMap(timeOfId),
  ];
  const newest = Math.max(...times.map((time) => time.getTime()), 0);
  if (now.getTime() >= newest - clockToleranceMs) return undefined;
  return new DbopsError(
    'refused',
    `the clock says ${now.toISOString()}, and the newest archive was made at ${new Date(newest).toISOString()}`,
    { hint: 'Set the clock of the database server right: what is removed hangs on it.' },
  );
}

/** 20261121T031500Z-5f3a9c01 */
function timeOfId(id: string): Date[] {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-/.exec(id);
  if (match === null) return [];
  const [year, month, day, hour, minute, second] = match.slice(1);
  const time = new Date(
    `${year ?? ''}-${month ?? ''}-${day ?? ''}T${hour ?? ''}:${minute ?? ''}:${second ?? ''}Z`,
  );
  return Number.isNaN(time.getTime()) ? [] : [time];
}

function due(facts: Facts, rows: ArchiveRow[]): Chosen[] {
  const { sets, options, notes } = facts;
  const perTable = new Map<string, number>();
  const chosen: Chosen[] = [];
  for (const row of rows) {
    if (!isChosen(tableOf(row), sets, options.tables)) continue;
    if (row.state === 'expired' && row.stores.length > 0 && row.hold === null) {
      chosen.push({ row, reason: 'its removal was begun and not finished' });
      continue;
    }
    if (row.state !== 'verified' && row.state !== 'proven') continue;
    const reason = whyDue(facts, row);
    if (reason === undefined) continue;
    const kept = whyNot(facts, row);
    if (kept !== undefined) {
      notes.push(`${label(row)}: due, and kept: ${kept}`);
      continue;
    }
    const table = displayName(tableOf(row));
    const count = (perTable.get(table) ?? 0) + 1;
    perTable.set(table, count);
    if (count <= options.max) chosen.push({ row, reason });
  }
  for (const [table, count] of perTable) {
    if (count > options.max)
      notes.push(
        `${table}: ${String(count)} archives are due, ${String(options.max)} in this run; --max lifts the limit`,
      );
  }
  return chosen;
}

/** Why the configured policy lets it go; undefined: it does not. */
function whyDue({ sets, context }: Facts, row: ArchiveRow): string | undefined {
  const set = setOfParent(sets, relation(tableOf(row)));
  const cold = set?.settings.retention?.cold;
  if (set === undefined || cold === undefined || row.upperBound === null) return undefined;
  const cutoff = coldCutoff(set, context.now);
  const upper = set.codec.parse(row.upperBound);
  if (cutoff === undefined || upper === undefined || upper > cutoff) return undefined;
  return `its rows end at ${row.upperBound}, and ${set.label} keeps them for ${formatDuration(cold)} in all`;
}

/** What stands against removing it, whoever asks. */
function whyNot({ sources }: Facts, row: ArchiveRow): string | undefined {
  if (row.hold !== null) return `it is held: ${visible(row.hold)}`;
  if (row.state === 'superseded' || row.state === 'failed' || row.state === 'expired') return undefined;
  const source = sources.get(row.id);
  if (source === undefined) return 'what became of its partition is not known';
  if (source.isAttached) return 'its partition is attached still';
  if (source.exists) return 'its partition, or a table of its name, is there still';
  return undefined;
}

function named(facts: Facts, rows: ArchiveRow[]): Chosen[] {
  return facts.options.ids.map((id) => {
    refuseNoId('archive', id);
    const begun = rows.filter((row) => row.id.startsWith(id));
    const row = begun.find((item) => item.id === id) ?? begun[0];
    if (row === undefined || (begun.length > 1 && row.id !== id)) {
      const message =
        row === undefined
          ? `the ledger has no archive "${visible(id)}"`
          : `${String(begun.length)} archives have an id that begins with "${visible(id)}"`;
      throw new DbopsError(row === undefined ? 'archive_not_found' : 'usage', message, {
        hint:
          row === undefined
            ? '"dbops archive list" shows the archives; "dbops archive list --rebuild" tells the ledger of those that only a store has.'
            : 'Give more of the id.',
      });
    }
    if (row.state === 'exporting') {
      throw new DbopsError('refused', `${label(row)} is being made, or its run was interrupted`, {
        hint: 'The next "dbops archive run" removes what an interrupted run left.',
      });
    }
    const kept = whyNot(facts, row);
    if (kept !== undefined) {
      throw new DbopsError('refused', `${label(row)} is not removed: ${kept}`, {
        hint:
          row.hold === null
            ? 'An archive goes only when its partition was dropped.'
            : `Release it first: dbops archive release ${row.id} --reason ...`,
      });
    }
    const reason =
      row.state === 'proven' || row.state === 'verified' ? whyDue(facts, row) : `it is ${row.state}`;
    if (reason === undefined && facts.options.confirm !== row.id) {
      throw new DbopsError('confirmation_required', `${label(row)} is not removed: no policy makes it due`, {
        hint: `To remove the last copy of its rows for good, say its id: --confirm ${row.id}`,
      });
    }
    return { row, reason: reason ?? 'confirmed by its id' };
  });
}

function label(row: ArchiveRow): string {
  return `archive ${row.id} of ${displayName(partitionOf(row))}`;
}

/** The ledger says so first: from then on nothing counts on this archive, and the next run finishes what a kill leaves. */
function expireChange(schema: string, row: ArchiveRow, reason: string): Change {
  return transactionChange({
    summary: `remove ${label(row)} from ${row.stores.join(', ')}: ${reason}`,
    table: displayName(tableOf(row)),
    event: 'archive_expired',
    fields: { archive: row.id, partition: displayName(partitionOf(row)) },
    steps: [
      quietStep(
        archiveStateSql(schema, row.id, 'expired', reason),
        'then manifest.json is deleted in each store, and after it the parts',
      ),
    ],
  });
}
