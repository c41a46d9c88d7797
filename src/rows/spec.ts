import { createHash } from 'node:crypto';
import type { RowsDefinition } from '../config/rows.ts';
import { DbopsError } from '../errors.ts';
import type { JobRow } from '../sql/jobs.ts';
import type { Log } from '../output/log.ts';
import { visible } from '../sql/quote.ts';
import { mostMissed, type BatchRow, type KeyColumn, type Position, type Stretch } from '../sql/rows-batch.ts';

/** Jobs over rows stand under this in the table of jobs. */
export const jobPrefix = 'rows ';

/** A table that holds rows of the job, as it was when the job began. */
export interface SpecLeaf {
  oid: number;
  schema: string;
  name: string;
  file: number;
}

/** What a job is, frozen when it began. */
export interface RowsSpec {
  hash: string;
  definition: RowsDefinition;
  tableOid: number;
  cutoff: string | null;
  cutoffText: string | null;
  leaves: SpecLeaf[];
  stretches: Stretch[];
  /** The primary key, by which a mask finds its way. */
  keys: KeyColumn[];
  /** Rows that the planner expected. */
  expectedRows: number;
}

/** How far a job has come. It is kept in the transaction of each batch. */
export interface RowsCursor {
  /** 2: once more over what was locked. */
  pass: 1 | 2;
  /** Which stretch. */
  at: number;
  /** Null: at the beginning of the stretch. */
  after: Position;
  /** Windows with rows that were passed over; of a mask, these rows. */
  again: Stretch[];
  /** Rows that were deleted, moved or changed. */
  changed: number;
  /** Rows that were passed over in the first pass. */
  skipped: number;
  /** Of these, rows that the second pass had to leave. */
  left: number;
  /** Why the last run stopped. */
  reason?: string | undefined;
}

export const firstCursor: RowsCursor = {
  pass: 1,
  at: 0,
  after: null,
  again: [],
  changed: 0,
  skipped: 0,
  left: 0,
};

/** A job that was begun and has not ended. */
export interface RowsJob {
  /** Without the prefix. */
  name: string;
  state: string;
  spec: RowsSpec;
  cursor: RowsCursor;
}

/**
 * The same words, the same hash: whether a job that was begun is the one that is asked for. The order of keys plays no
 * part, since jsonb keeps none. Pure.
 */
export function hashOf(definition: RowsDefinition): string {
  const { verb, table, olderThan, where, to, set, cascade, timezone } = definition;
  const age =
    olderThan === undefined ? null : [olderThan.column, olderThan.age.months, olderThan.age.seconds];
  const masked = Object.entries(set).sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = [verb, table, age, where ?? null, to ?? null, masked, cascade, timezone];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** The name of a job that was given none: the same command finds it again. Pure. */
export function defaultName(definition: RowsDefinition): string {
  const table = definition.table.replaceAll(/[^\p{L}\p{N}_.-]/gu, '_');
  return `${definition.verb}-${table}-${hashOf(definition).slice(0, 8)}`;
}

/** Reads a job's row. Throws object_changed when it is none of ours. */
export function readJob(row: JobRow): RowsJob {
  const spec = row.spec as RowsSpec | null;
  const name = row.name.slice(jobPrefix.length);
  if (!Array.isArray(spec?.stretches) || typeof spec.hash !== 'string') {
    throw new DbopsError(
      'object_changed',
      `the job "${visible(name)}" is not written as this dbops writes jobs`,
      {
        hint: `End it with "dbops rows cancel ${visible(name)}".`,
      },
    );
  }
  return { name, state: row.state, spec, cursor: (row.cursor as RowsCursor | null) ?? firstCursor };
}

/** Windows that touch are one, and so are the last two when there are too many. Pure. */
export function withWindow(again: Stretch[], window: Stretch, most = 200): Stretch[] {
  const last = again.at(-1);
  const joins =
    last?.leaf === window.leaf &&
    (again.length >= most || JSON.stringify(last.upto) === JSON.stringify(window.after));
  return joins ? [...again.slice(0, -1), { ...last, upto: window.upto }] : [...again, window];
}

/**
 * What is remembered of a batch that passed over rows. Of a mask it is the rows themselves: those between them would be
 * masked once more. Says also how many are too many to be remembered. Pure.
 */
export function withMissed(
  again: Stretch[],
  window: Stretch,
  batch: BatchRow,
): { again: Stretch[]; forgotten: number } {
  const missed = Math.max(batch.hits - batch.changed, 0);
  if (missed === 0) return { again, forgotten: 0 };
  if (batch.missed === undefined) return { again: withWindow(again, window), forgotten: 0 };
  const kept = batch.missed.slice(0, Math.max(mostMissed - again.length, 0));
  const rows = kept.map((key): Stretch => ({ leaf: window.leaf, after: null, upto: key, only: true }));
  return { again: [...again, ...rows], forgotten: missed - kept.length };
}

/** What is left to walk after an interruption, when tables have changed meanwhile. */
export interface Refreshed {
  leaves: SpecLeaf[];
  stretches: Stretch[];
  cursor: RowsCursor;
  /** Tables that are gone or were rewritten, as schema.name. */
  gone: string[];
  rewritten: string[];
}

/**
 * Fits a job to the tables that are there now. A table that is gone (a partition that was dropped) has nothing to walk.
 * One that was rewritten (VACUUM FULL, CLUSTER) has its rows in other blocks: a walk by blocks begins there anew, which
 * does no harm where rows leave the table. A walk by the key is not touched by that. Pure.
 */
export function refresh(
  spec: Pick<RowsSpec, 'leaves' | 'stretches'>,
  cursor: RowsCursor,
  now: (SpecLeaf & { blocks: number })[],
): Refreshed {
  const current = spec.leaves.map((leaf) => now.find((item) => item.oid === leaf.oid));
  const isGone = (stretch: Stretch) => current[stretch.leaf] === undefined;
  const isRewritten = (stretch: Stretch) =>
    typeof stretch.upto === 'number' &&
    current[stretch.leaf] !== undefined &&
    current[stretch.leaf]?.file !== spec.leaves[stretch.leaf]?.file;
  const fit = (stretch: Stretch): Stretch => {
    if (isGone(stretch)) return { ...stretch, after: 0, upto: 0 };
    return isRewritten(stretch)
      ? { ...stretch, after: 0, upto: current[stretch.leaf]?.blocks ?? 0 }
      : stretch;
  };
  const isFirst = cursor.pass === 1;
  const here = (isFirst ? spec.stretches : cursor.again)[cursor.at];
  const restarts = here !== undefined && (isGone(here) || isRewritten(here));
  const label = (leaf: SpecLeaf) => `${leaf.schema}.${leaf.name}`;
  const touched = [...spec.stretches, ...cursor.again];
  /** Of a rewritten table one stretch, or none where the first pass still comes there. */
  const again = (): Stretch[] => {
    const left: Stretch[] = [];
    for (const stretch of isFirst ? cursor.again : cursor.again.slice(cursor.at)) {
      if (isGone(stretch)) continue;
      const isDone = left.some((other) => other.leaf === stretch.leaf);
      const comes = isFirst && spec.stretches.slice(cursor.at).some((other) => other.leaf === stretch.leaf);
      if (isRewritten(stretch) && (isDone || comes)) continue;
      left.push(fit(stretch));
    }
    return left;
  };
  return {
    leaves: spec.leaves.map((leaf, index) => {
      const found = current[index];
      return found === undefined
        ? leaf
        : { oid: found.oid, schema: found.schema, name: found.name, file: found.file };
    }),
    stretches: spec.stretches.map(fit),
    cursor: {
      ...cursor,
      at: isFirst ? cursor.at : 0,
      after: restarts ? null : cursor.after,
      again: again(),
    },
    gone: spec.leaves
      .filter((_, index) => touched.some((stretch) => stretch.leaf === index && isGone(stretch)))
      .map(label),
    rewritten: spec.leaves
      .filter((_, index) => touched.some((stretch) => stretch.leaf === index && isRewritten(stretch)))
      .map(label),
  };
}

/** Says which tables are passed over or begun anew. */
export function tellRefreshed(log: Log, fitted: Pick<Refreshed, 'gone' | 'rewritten'>): void {
  for (const name of fitted.gone) {
    log.warn({ event: 'rows_table_gone', table: name }, `${visible(name)} is gone and passed over`);
  }
  for (const name of fitted.rewritten) {
    log.warn(
      { event: 'rows_table_rewritten', table: name },
      `${visible(name)} was rewritten meanwhile, so the job begins there anew`,
    );
  }
}
