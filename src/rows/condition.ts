import type { RowsDefinition } from '../config/rows.ts';
import { nearest } from '../config/nearest.ts';
import { DbopsError } from '../errors.ts';
import { sqlStateOf } from '../pg/sqlstate.ts';
import type { PlanNode } from '../sql/explain.ts';
import { displayName, ident, literal, relation, visible } from '../sql/quote.ts';
import { checkExpression, explainRows, getCutoff, listVolatile } from '../sql/rows-condition.ts';
import type { RowsTableRow } from '../sql/rows-table.ts';
import type { RowsContext } from './context.ts';
import { clockIn, readSql } from './sql-text.ts';

/** Which rows a job takes, with the moment that was frozen when it began. */
export interface Condition {
  sql: string;
  /** ISO time before which rows are old; null where age plays no part. */
  cutoff: string | null;
  /** The same as the column's type writes it. */
  cutoffText: string | null;
}

/** Types whose age can be told, by how the server names them. */
const ageTypes: Record<string, 'timestamptz' | 'timestamp' | 'date'> = {
  'timestamp with time zone': 'timestamptz',
  'timestamp without time zone': 'timestamp',
  date: 'date',
};

/**
 * Makes the condition of a job, or checks again the one that was frozen. Age first, then what else was asked for. Throws
 * usage for what is no condition on the row alone.
 */
export async function makeCondition(
  context: Pick<RowsContext, 'db' | 'now'>,
  table: RowsTableRow,
  definition: RowsDefinition,
  frozen: Pick<Condition, 'cutoff' | 'cutoffText'> | undefined,
): Promise<Condition> {
  const parts: string[] = [];
  const moment = frozen ?? (await freeze(context, table, definition));
  const column = definition.olderThan?.column;
  if (column !== undefined && moment.cutoffText !== null) {
    const type = ageType(table, column);
    parts.push(`t.${ident(column)} < ${literal(moment.cutoffText)}::${type}`);
  }
  if (definition.where !== undefined) {
    await checkText(context, table, definition.where, '--where');
    await refuseVolatile(context, definition.where);
    parts.push(`(${definition.where}\n)`);
  }
  if (parts.length === 0) {
    throw new DbopsError('usage', `which rows of ${displayName(table)} are meant?`, {
      hint: 'Give --older-than "<column> 30 days", --where "<condition>", or both; --where true means all of them.',
    });
  }
  return { sql: parts.join(' and '), cutoff: moment.cutoff, cutoffText: moment.cutoffText };
}

async function freeze(
  context: Pick<RowsContext, 'db' | 'now'>,
  table: RowsTableRow,
  definition: RowsDefinition,
): Promise<Pick<Condition, 'cutoff' | 'cutoffText'>> {
  const { olderThan, timezone } = definition;
  if (olderThan === undefined) return { cutoff: null, cutoffText: null };
  const type = ageType(table, olderThan.column);
  const { at, text } = await getCutoff(context.db, context.now, olderThan.age, timezone, type);
  return { cutoff: at.toISOString(), cutoffText: text };
}

function ageType(table: RowsTableRow, name: string): 'timestamptz' | 'timestamp' | 'date' {
  const column = table.columns.find((item) => item.name === name);
  if (column === undefined) throw unknownColumn(table, name, '--older-than');
  const type = ageTypes[column.castType];
  if (type !== undefined) return type;
  throw new DbopsError(
    'usage',
    `${displayName(table)}.${visible(name)} is of type ${visible(column.type)}, which has no age`,
    { hint: 'Name a column of type timestamptz, timestamp or date, or compare it yourself in --where.' },
  );
}

export function unknownColumn(table: RowsTableRow, name: string, flag: string): DbopsError {
  const guess = nearest(
    name,
    table.columns.map((column) => column.name),
  );
  return new DbopsError('usage', `${displayName(table)} has no column ${visible(name)}`, {
    hint:
      guess === undefined
        ? `Name a column of it in ${flag}.`
        : `Did you mean ${visible(guess)}? Columns are named as they stand in the catalog, without quotes.`,
  });
}

/** Throws usage unless the text is one expression that stands by itself and needs no parameters. */
export async function checkText(
  context: Pick<RowsContext, 'db'>,
  table: RowsTableRow,
  text: string,
  flag: string,
): Promise<void> {
  if (readSql(text).hasParameters) {
    throw new DbopsError('usage', `${flag} has a parameter such as $1, which has no value here`, {
      hint: 'Write the value itself.',
    });
  }
  try {
    await checkExpression(context.db, table, text);
  } catch (error) {
    const state = sqlStateOf(error) ?? '';
    // What is wrong with the text: syntax, a name, a type. Privileges and lost sessions are told as they are.
    if (!(error instanceof DbopsError) || !/^(42(?!501)|22|0A)/.test(state)) throw error;
    throw new DbopsError(
      'usage',
      `${flag} is not an expression over ${displayName(table)}: ${error.message}`,
      {
        detail: visible(text),
        hint: 'Columns stand by their names; functions and types outside of pg_catalog need their schema.',
        cause: error,
      },
    );
  }
}

/**
 * What is asked of a row must be the same in each batch and after a resume. What the clock says is frozen by
 * --older-than alone, and a function that answers differently each time would make the plan a guess.
 */
async function refuseVolatile(context: Pick<RowsContext, 'db'>, where: string): Promise<void> {
  const text = readSql(where);
  const clock = clockIn(text);
  if (clock !== undefined) {
    throw new DbopsError(
      'usage',
      `--where asks for the time (${visible(clock)}), which is another in each batch`,
      {
        hint: 'Use --older-than "<column> 7 days", which is frozen when the job begins, or write the moment itself.',
      },
    );
  }
  const calls = text.words.filter((word) => word.isCall).map((word) => word.name);
  const [volatile] = await listVolatile(context.db, calls);
  if (volatile === undefined) return;
  throw new DbopsError('usage', `--where calls ${visible(volatile)}(), which is volatile`, {
    hint: 'A condition must say the same of a row whenever it is asked.',
  });
}

export interface Reading {
  /** Rows that the planner expects; a guess where the table was never analyzed. */
  expectedRows: number;
  /** schema.name, quoted for SQL, of the tables that may have such rows. */
  tables: Set<string>;
}

/**
 * Asks the planner which tables may have such rows, and how many. Throws usage when the condition looks into others:
 * what they hold may be another in each batch.
 */
export async function readPlan(
  context: Pick<RowsContext, 'db'>,
  table: RowsTableRow,
  condition: string,
  flag = '--where',
): Promise<Reading> {
  const plan = await explainRows(context.db, table, condition);
  const nodes = flatten(plan);
  const isForeign = nodes.some(
    (node) =>
      node['Subplan Name'] !== undefined ||
      / Join$|^Nested Loop|^(Function|Values|CTE) Scan/.test(node['Node Type']),
  );
  if (isForeign) {
    throw new DbopsError('usage', `${flag} looks at more than the row of ${displayName(table)}`, {
      hint: 'A subquery may find something else in each batch. Mark the rows in a column of their own first, then ask for that.',
    });
  }
  const tables = nodes.flatMap((node) =>
    node['Relation Name'] === undefined
      ? []
      : [relation({ schema: node.Schema ?? '', name: node['Relation Name'] })],
  );
  return { expectedRows: Number(plan['Plan Rows'] ?? 0), tables: new Set(tables) };
}

function flatten(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}
