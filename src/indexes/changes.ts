import { prelockStep, transactionChange, type Change } from '../plan/step.ts';
import type { IndexedTableRow } from '../sql/index-tables.ts';
import { displayName, ident, relation, visible, type RelationName } from '../sql/quote.ts';

/** What the changes of one index have in common. */
export interface ChangeOptions {
  unique: boolean;
  /** What stands behind the table in CREATE INDEX. */
  body: string;
  lockTimeoutMs: number;
  deadlockTimeoutMs: number;
}

/** An autovacuum gives way only to who has waited for deadlock_timeout; a little longer, and it is gone. */
const autovacuumMarginMs = 250;

/**
 * CREATE INDEX CONCURRENTLY. It has no lock_timeout: that would also end the wait for old transactions, and throw a build
 * of hours away. What it holds meanwhile (SHARE UPDATE EXCLUSIVE) neither readers nor writers wait for.
 */
export function buildChange(name: string, table: RelationName, options: ChangeOptions): Change {
  const target = relation(table);
  return {
    summary: `create the index ${visible(name)} on ${displayName(table)}`,
    table: displayName(table),
    kind: 'single',
    lockTimeoutMs: null,
    statementTimeoutMs: null,
    isTriedOnce: true,
    startWhenFree: [
      { table: target, mode: 'SHARE' },
      { table: target, mode: 'SHARE UPDATE EXCLUSIVE' },
    ],
    event: 'index_created',
    fields: { index: name },
    steps: [
      {
        sql: `create ${options.unique ? 'unique ' : ''}index concurrently ${ident(name)} on ${target} ${options.body}`,
        locks: [{ table: target, mode: 'SHARE UPDATE EXCLUSIVE' }],
        why: 'readers and writers go on; it waits for transactions that are older than it',
      },
    ],
  };
}

/** Removes an index with nobody waiting; what is given up half done is done by the next try. */
export function dropChange(
  index: RelationName,
  table: RelationName,
  { deadlockTimeoutMs }: Pick<ChangeOptions, 'deadlockTimeoutMs'>,
  why: string,
): Change {
  return {
    summary: `drop the index ${displayName(index)}`,
    table: displayName(table),
    kind: 'single',
    lockTimeoutMs: deadlockTimeoutMs + autovacuumMarginMs,
    statementTimeoutMs: null,
    startWhenFree: [{ table: relation(table), mode: 'ACCESS EXCLUSIVE' }],
    event: 'index_dropped',
    fields: { index: displayName(index) },
    steps: [
      {
        sql: `drop index concurrently if exists ${relation(index)}`,
        locks: [
          { table: relation(table), mode: 'ACCESS EXCLUSIVE' },
          { table: relation(index), mode: 'ACCESS EXCLUSIVE' },
        ],
        why,
      },
    ],
  };
}

/** Rebuilds what is invalid and cannot be dropped, since it is attached already. */
export function rebuildChange(index: RelationName, table: RelationName): Change {
  const target = relation(table);
  return {
    summary: `rebuild the index ${displayName(index)}`,
    table: displayName(table),
    kind: 'single',
    lockTimeoutMs: null,
    statementTimeoutMs: null,
    isTriedOnce: true,
    startWhenFree: [{ table: target, mode: 'SHARE' }],
    event: 'index_rebuilt',
    fields: { index: displayName(index) },
    steps: [
      {
        sql: `reindex index concurrently ${relation(index)}`,
        locks: [{ table: target, mode: 'SHARE UPDATE EXCLUSIVE' }],
        why: 'it is attached to the index of the whole table, and not valid',
      },
    ],
  };
}

/** The index of a partitioned table: an entry in the catalog, valid when each partition has its part. */
export function parentChange(name: string, table: RelationName, options: ChangeOptions): Change {
  const target = relation(table);
  return transactionChange({
    summary: `create the index ${visible(name)} of ${displayName(table)}, without its partitions`,
    table: displayName(table),
    lockTimeoutMs: options.lockTimeoutMs,
    event: 'index_created',
    fields: { index: name },
    steps: [
      {
        sql: `create ${options.unique ? 'unique ' : ''}index ${ident(name)} on only ${target} ${options.body}`,
        locks: [{ table: target, mode: 'SHARE' }],
        why: 'for an instant: nothing is read; new partitions have it from here on',
      },
    ],
  });
}

/** Makes the index of a partition a part of its parent's. */
export function attachChange(
  parent: RelationName,
  child: RelationName,
  partition: Pick<IndexedTableRow, 'schema' | 'name' | 'kind'>,
  options: ChangeOptions,
): Change {
  return transactionChange({
    summary: `attach the index ${displayName(child)} to ${displayName(parent)}`,
    table: displayName(partition),
    lockTimeoutMs: options.lockTimeoutMs,
    event: 'index_attached',
    fields: { index: displayName(child), parent: displayName(parent) },
    steps: [
      // Autovacuum holds the indexes of its table as well.
      ...(partition.kind === 'p' ? [] : [prelockStep(relation(partition), options.deadlockTimeoutMs)]),
      {
        sql: `alter index ${relation(parent)} attach partition ${relation(child)}`,
        locks: [
          { table: relation(parent), mode: 'SHARE UPDATE EXCLUSIVE' },
          { table: relation(child), mode: 'ACCESS EXCLUSIVE' },
        ],
        why: 'for an instant: nothing is read',
      },
    ],
  });
}
