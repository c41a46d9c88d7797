import { prelockStep, transactionChange, type Change } from '../../plan/step.ts';
import { relation } from '../../sql/quote.ts';
import type { TableFacts } from './inspect.ts';
import { cutoverConstraint, parseBegun } from './marker.ts';
import { defaultLegacyName, legacyObjectName } from './names.ts';

interface Times {
  lockTimeoutMs: number;
  deadlockTimeoutMs: number;
}

/** Takes away what a convert that never came to its swap has added; empty when it added nothing. */
export function abandonChanges(
  facts: TableFacts,
  label: string,
  legacyName: string | undefined,
  times: Times,
): Change[] {
  const table = relation(facts.table);
  const changes: Change[] = [];
  const mark = parseBegun(facts.constraints.find((item) => item.name === cutoverConstraint)?.comment ?? null);
  if (mark !== undefined) {
    changes.push(dropCheckChange(label, table, times));
  }
  const index = mark?.index ?? leftoverIndex(facts, legacyName);
  if (index !== undefined && facts.indexes.some((item) => item.name === index)) {
    changes.push({
      summary: `drop the unique index that the convert of ${label} had built`,
      table: label,
      kind: 'single',
      lockTimeoutMs: null,
      statementTimeoutMs: null,
      event: 'convert_index_dropped',
      steps: [
        {
          sql: `drop index concurrently if exists ${relation({ schema: facts.table.schema, name: index })}`,
          locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }],
          why: 'readers and writers go on',
        },
      ],
    });
  }
  return changes;
}

/** Takes the CHECK away: rows past the cutover are taken again. */
export function dropCheckChange(label: string, table: string, times: Times): Change {
  return transactionChange({
    summary: `let ${label} take rows past the cutover again`,
    table: label,
    lockTimeoutMs: times.lockTimeoutMs,
    event: 'convert_abandoned',
    steps: [
      prelockStep(table, times.deadlockTimeoutMs),
      {
        sql: `alter table ${table} drop constraint ${cutoverConstraint}`,
        locks: [{ table, mode: 'ACCESS EXCLUSIVE' }],
        why: 'for an instant; no row is refused any more',
      },
    ],
  });
}

/** A run that was killed before it had marked the table left the index alone: it is known by its name and shape. */
function leftoverIndex(facts: TableFacts, legacyName: string | undefined): string | undefined {
  const primary = facts.indexes.find((item) => item.isPrimary);
  if (primary === undefined) return undefined;
  const legacy = legacyName ?? defaultLegacyName(facts.table.name);
  const name = legacyObjectName(primary.name, facts.table.name, legacy);
  const index = facts.indexes.find((item) => item.name === name);
  const isOurs =
    index?.isUnique === true &&
    index.constraint === null &&
    index.columns.length === primary.columns.length + 1 &&
    primary.columns.every((column, place) => index.columns[place] === column);
  return isOurs ? name : undefined;
}
