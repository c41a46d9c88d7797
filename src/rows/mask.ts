import type { RowsDefinition } from '../config/rows.ts';
import { DbopsError } from '../errors.ts';
import { sqlStateOf } from '../pg/sqlstate.ts';
import { displayName, ident, visible } from '../sql/quote.ts';
import { readTimeoutMs } from '../sql/relations.ts';
import { listVolatile } from '../sql/rows-condition.ts';
import {
  findDoubleAfterMask,
  type RowsColumn,
  type RowsTableRow,
  type RowsUnique,
} from '../sql/rows-table.ts';
import { checkText, readPlan, unknownColumn } from './condition.ts';
import type { RowsContext } from './context.ts';
import { primaryKeyOf } from './table.ts';
import { readSql } from './sql-text.ts';

export interface MaskPlan {
  set: [column: string, expression: string][];
  /** Added to the condition: rows that are masked already are left as they are. */
  unlessMasked: string | undefined;
  warnings: string[];
}

/** Where old values remain after a mask, whoever masks. */
const remains =
  'the old values remain in dead rows until VACUUM and the reuse of their space, in WAL and its archive, ' +
  'on standbys until they replay, and in every backup taken before; what --where and --set say of them stands in the ' +
  "history and the jobs of dbops's own schema";

/** Checks what is to be written, and whether unique columns can bear it. Throws usage or refused with the reason. */
export async function planMask(
  context: Pick<RowsContext, 'db'>,
  table: RowsTableRow,
  definition: RowsDefinition,
  condition: string,
): Promise<MaskPlan> {
  const set = Object.entries(definition.set);
  if (set.length === 0) {
    throw new DbopsError('usage', 'nothing to mask: no column is named', {
      hint: 'Give --set "email=\'masked_\' || id", once for each column.',
    });
  }
  const key = primaryKeyOf(table).map((column) => column.name);
  const warnings = [remains];
  for (const [name, expression] of set) {
    refuseColumn(table, name, key);
    await checkText(context, table, `(${expression}\n)`, `--set ${visible(name)}`);
    await checkText(context, table, expression, `--set ${visible(name)}`);
    await readPlan(context, table, `(${expression}\n) is not null`, `--set ${visible(name)}`);
    if (readSql(expression).words.some((word) => word.name === name)) {
      warnings.push(
        `the new ${visible(name)} is made from the old one, so another job changes it once more unless --where leaves out what is masked`,
      );
    }
  }
  for (const unique of table.uniques) {
    const warning = await checkUnique(context, table, unique, definition.set, condition);
    if (warning !== undefined) warnings.push(warning);
  }
  return { set, unlessMasked: await comparison(context, table, set), warnings };
}

function refuseColumn(table: RowsTableRow, name: string, key: string[]): void {
  const column = table.columns.find((item) => item.name === name);
  if (column === undefined) throw unknownColumn(table, name, '--set');
  const label = `${displayName(table)}.${visible(name)}`;
  if (column.generated !== '') {
    throw new DbopsError('refused', `${label} is generated: mask the columns that it is made from`);
  }
  if (column.identity === 'a') {
    throw new DbopsError(
      'refused',
      `${label} is an identity column (GENERATED ALWAYS) and cannot be written`,
    );
  }
  if (key.includes(name)) {
    throw new DbopsError('refused', `${label} is part of the primary key, by which the job finds its way`, {
      hint: 'A key that is personal data has to be replaced by the application.',
    });
  }
}

/**
 * Refuses what a unique index would refuse in the middle of the job. Values that meet others outside of the condition
 * are found by the server alone. Returns a warning when it could not be told in time.
 */
async function checkUnique(
  context: Pick<RowsContext, 'db'>,
  table: RowsTableRow,
  unique: RowsUnique,
  set: Record<string, string>,
  condition: string,
): Promise<string | undefined> {
  const masked = unique.columns.filter((column) => Object.hasOwn(set, column));
  if (masked.length === 0) return undefined;
  const makesNull = masked.some((column) => /^\s*null\s*$/i.test(set[column] ?? ''));
  if (makesNull && !unique.nullsNotDistinct) return undefined;
  const constant = masked.every((column) => isConstant(table, set[column] ?? ''));
  const isWhole = masked.length === unique.columns.length && unique.keys === unique.columns.length;
  const index = `unique index ${visible(unique.name)} on ${unique.columns.map(visible).join(', ')}`;
  const hint = `Make the value from the primary key, such as 'masked_' || ${ident(primaryKeyOf(table)[0]?.name ?? 'id')}, or use null.`;
  if (constant && isWhole) {
    throw new DbopsError('refused', `${displayName(table)}: ${index} allows one row only with that value`, {
      hint,
    });
  }
  if (unique.keys !== unique.columns.length || unique.isPartial) {
    return `${index} has a condition or an expression: whether the new values fit it is not known before`;
  }
  try {
    if (!(await findDoubleAfterMask(context.db, table, unique.columns, set, condition, readTimeoutMs)))
      return undefined;
  } catch (error) {
    if (sqlStateOf(error) === '57014') return `whether the new values fit ${index} could not be told in time`;
    throw error;
  }
  throw new DbopsError(
    'refused',
    `${displayName(table)}: several rows would get the same value in ${index}`,
    { hint },
  );
}

/** Nothing of the row and no function is in it: each row would get the same. */
function isConstant(table: RowsTableRow, expression: string): boolean {
  const { words } = readSql(expression);
  return !words.some((word) => word.isCall || table.columns.some((column) => column.name === word.name));
}

/** Types such as json cannot be compared; then rows are written again, and what is random cannot be recognized. */
async function comparison(
  context: Pick<RowsContext, 'db'>,
  table: RowsTableRow,
  set: [string, string][],
): Promise<string | undefined> {
  const calls = set.flatMap(([, expression]) =>
    readSql(expression)
      .words.filter((word) => word.isCall)
      .map((word) => word.name),
  );
  if ((await listVolatile(context.db, calls)).length > 0) return undefined;
  const sql = set
    .map(([name, expression]) =>
      isOther(
        table.columns.find((column) => column.name === name),
        name,
        expression,
      ),
    )
    .join(' or ');
  try {
    await readPlan(context, table, sql);
    return sql;
  } catch (error) {
    // 42883: the type has no equality.
    if (sqlStateOf(error) === '42883') return undefined;
    throw error;
  }
}

/**
 * Whether a column has another value than it would get. The new one is made what the column would hold: its type, cut and
 * rounded. Collations may call two texts equal, such as 'A' and 'a'; "C" does so only when they are the same.
 */
function isOther(column: RowsColumn | undefined, name: string, expression: string): string {
  const bytes = column?.isCollated === true ? ' collate pg_catalog."C"' : '';
  const value = column === undefined ? `(${expression}\n)` : `(${expression}\n)::${column.type}`;
  return `t.${ident(name)}${bytes} is distinct from ${value}${bytes}`;
}
