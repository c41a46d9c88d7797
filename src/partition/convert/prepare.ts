import { prelockStep, quietStep, transactionChange, type Change, type Step } from '../../plan/step.ts';
import { ident, literal, relation } from '../../sql/quote.ts';
import { instantOf, showPoint } from './cutover.ts';
import { dropCheckChange } from './abandon.ts';
import { begunComment, cutoverConstraint } from './marker.ts';
import type { ConvertTarget } from './target.ts';

/** What happens before the swap, online and in steps that an interrupted run leaves for the next one. */
export function prepareChanges(target: ConvertTarget): Change[] {
  return [...indexChanges(target), ...checkChanges(target), ...validateChanges(target)];
}

/** The index that becomes the legacy partition's primary key. No lock_timeout: it would leave the index invalid. */
function indexChanges(target: ConvertTarget): Change[] {
  const { primaryKey, facts, newIndex, newIndexState } = target;
  if (primaryKey?.isExchanged !== true || newIndexState === 'ready') return [];
  const table = relation(facts.table);
  const index = relation({ schema: facts.table.schema, name: newIndex });
  const columns = primaryKey.columns.map(ident).join(', ');
  const include =
    primaryKey.included.length === 0 ? '' : ` include (${primaryKey.included.map(ident).join(', ')})`;
  return [
    {
      summary: `build the unique index (${columns}) on ${target.label}`,
      table: target.label,
      kind: 'single',
      lockTimeoutMs: null,
      statementTimeoutMs: null,
      event: 'convert_index_built',
      steps: [
        quietStep(
          `drop index concurrently if exists ${index}`,
          'an interrupted build leaves an invalid index of this name',
        ),
        {
          sql: `create unique index concurrently ${ident(newIndex)} on ${table} (${columns})${include}`,
          locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }],
          why: "the partition's primary key must hold the key; readers and writers go on while it is built",
        },
      ],
    },
  ];
}

function checkChanges(target: ConvertTarget): Change[] {
  if (target.begun !== undefined) return [];
  const { facts, wish, codec, zone, cutover } = target;
  const table = relation(facts.table);
  const key = ident(wish.key);
  const mark = begunComment({
    key: wish.key,
    cutover: codec.format(cutover),
    at: instantOf(cutover, codec, zone),
    index: target.primaryKey?.isExchanged === true ? target.newIndex : null,
  });
  return [
    transactionChange({
      summary: `bound ${target.label} by the cutover ${showPoint(cutover, codec, zone)}`,
      table: target.label,
      lockTimeoutMs: target.lockTimeoutMs,
      event: 'convert_bounded',
      isIntermediate: true,
      undo: dropCheckChange(target.label, table, target),
      steps: [
        ...aheadSteps(target),
        prelockStep(table, target.deadlockTimeoutMs),
        {
          sql:
            `alter table ${table} add constraint ${cutoverConstraint} ` +
            `check (${key} is not null and ${key} < ${target.cutoverLiteral}) not valid`,
          locks: [{ table, mode: 'ACCESS EXCLUSIVE' }],
          why: 'for an instant, nothing is read; from here until the swap, rows at or past the cutover are refused',
        },
        quietStep(
          `comment on constraint ${cutoverConstraint} on ${table} is ${literal(mark)}`,
          'so that the next run, "partition check" and --undo know it',
        ),
      ],
    }),
  ];
}

/** The index may have been built for hours: a CHECK whose cutover has come would refuse every new row. */
function aheadSteps(target: ConvertTarget): Step[] {
  const { codec, zone, cutover, keyColumn } = target;
  const at = instantOf(cutover, codec, zone);
  const sequence = keyColumn.sequence === null ? undefined : relation(keyColumn.sequence);
  const isPast =
    at !== null
      ? `pg_catalog.clock_timestamp() + interval '1 minute' >= ${literal(at)}::pg_catalog.timestamptz`
      : sequence === undefined
        ? undefined
        : `pg_catalog.pg_sequence_last_value(${literal(sequence)}::pg_catalog.regclass) >= ${codec.format(cutover)}`;
  if (isPast === undefined) return [];
  const message = `the cutover ${showPoint(cutover, codec, zone)} of ${target.label} has come before the table was bounded by it`;
  return [
    quietStep(
      `do ${literal(
        `begin if ${isPast} then raise exception using message = ${literal(message)}, ` +
          `hint = 'Run the command again with a later --cutover; no row is refused.'; end if; end`,
      )}`,
      'a bound that has come would refuse every new row',
    ),
  ];
}

function validateChanges(target: ConvertTarget): Change[] {
  if (target.isChecked) return [];
  const table = relation(target.facts.table);
  return [
    transactionChange({
      summary: `prove that every row of ${target.label} lies before the cutover`,
      table: target.label,
      lockTimeoutMs: target.lockTimeoutMs,
      statementTimeoutMs: null,
      event: 'convert_begun',
      fields: { cutover: target.codec.format(target.cutover) },
      steps: [
        prelockStep(table, target.deadlockTimeoutMs),
        {
          sql: `alter table ${table} validate constraint ${cutoverConstraint}`,
          locks: [{ table, mode: 'SHARE UPDATE EXCLUSIVE' }],
          why: 'reads the table once while readers and writers go on; the attach then reads nothing',
        },
      ],
    }),
  ];
}
