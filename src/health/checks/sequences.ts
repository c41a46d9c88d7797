import { humanCount } from '../../output/human.ts';
import type { Sequence } from '../../sql/health-sequences.ts';
import { displayName, ident, relation } from '../../sql/quote.ts';
import { type Check, type CheckContext, type Look, type Observation } from '../check.ts';
import { readSequences, sequencesAtOnce, type UsedSequence } from '../sequence-values.ts';

export const sequences: Check[] = [
  {
    id: 'sequences.used',
    group: 'sequences',
    answers:
      'how near sequences and identity columns are to their end, or to that of the type of their column',
    why: 'After the last value every insert fails, and a wider type takes a rewrite of the table under a lock.',
    advice:
      'Widen the column to bigint in good time, and the sequence with it. Columns that refer to it need the same.',
    thresholds: { unit: 'percent', worse: 'above', warn: 75, crit: 90 },
    source: 'warn: pgmonitor, 75 %; crit: pghero, 90 %',
    profiles: ['daily', 'weekly', 'monthly', 'deploy'],
    asks: `the bounds of all sequences and the types of the columns that they fill in one statement, and their last values ${String(sequencesAtOnce)} at a time`,
    look: lookAtSequences,
  },
];

async function lookAtSequences({ db, floor }: Pick<CheckContext, 'db' | 'floor'>): Promise<Look> {
  const { read, unread } = await readSequences(db);
  const used = read.map((row) => ({ row, value: usedPercent(row) }));
  const worst = used.reduce((most, { value }) => Math.max(most, value), 0);
  return {
    observations: [
      ...used
        .filter(({ value }) => value >= floor)
        .sort((a, b) => b.value - a.value)
        .map(({ row, value }) => observe(row, value)),
      ...observeUnread(unread),
    ],
    summary: `${String(read.length + unread.length)} sequences, the furthest at ${worst.toFixed(worst < 1 ? 2 : 0)} % of its values`,
  };
}

/** The share of its values that a sequence has given. Those set beyond the end of their column's type are above 100. */
function usedPercent({ firstValue, endValue, lastValue }: UsedSequence): number {
  if (lastValue === null) return 0;
  return ((lastValue - firstValue) / (endValue - firstValue)) * 100;
}

function observe(row: UsedSequence, value: number): Observation {
  const of = row.column === null ? '' : ` of ${row.column} (${row.columnType ?? ''})`;
  return {
    object: displayName(row),
    value,
    message: `is at ${humanCount(row.lastValue ?? 0)}, and ${humanCount(row.endValue)} is the ${row.isAscending ? 'last' : 'lowest'} value${of}`,
  };
}

/** A last value that may not be read looks like one that is not there yet. */
function observeUnread(unread: Sequence[]): Observation[] {
  const hidden = unread.filter(({ mayRead }) => !mayRead);
  const [first] = hidden;
  const locked = unread.filter(({ mayRead }) => mayRead);
  const schemas = [...new Set(hidden.map(({ schema }) => schema))];
  const byPrivilege: Observation[] =
    first === undefined
      ? []
      : [
          {
            object: null,
            value: null,
            severity: 'unknown',
            message: `role "${first.user}" may not see the last values of ${String(hidden.length)} sequences, ${displayName(first)} among them`,
            advice: 'Give the role what it takes, as a superuser.',
            mend: schemas
              .map(
                (schema) =>
                  `grant select on all sequences in schema ${ident(schema)} to ${ident(first.user)};`,
              )
              .join(' '),
          },
        ];
  return [
    ...byPrivilege,
    ...locked.map((row): Observation => ({
      object: displayName(row),
      value: null,
      severity: 'unknown',
      message: `somebody holds ${relation(row)} locked, so its last value was not read`,
      advice: 'Look who holds the lock, and ask again.',
      mend: 'dbops inspect locks',
    })),
  ];
}
