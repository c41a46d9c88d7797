import { DbopsError } from '../../errors.ts';
import type { CopiedColumn, SummaryColumn } from '../../sql/export.ts';
import { ident } from '../../sql/quote.ts';
import { storedColumns, type TableDefinition } from '../definition/definition.ts';

/** Min and max are read of at most so many columns: a SELECT has room for 1,664 expressions. */
const mostSummaries = 100;

/** The columns of the parts, with what is put in the place of personal ones. Throws config_invalid for a mask of nothing. */
export function copiedColumns(
  definition: TableDefinition,
  mask: Record<string, string>,
  label: string,
): CopiedColumn[] {
  const names = storedColumns(definition);
  for (const name of Object.keys(mask)) {
    if (names.includes(name)) continue;
    throw new DbopsError('config_invalid', `${label} has no stored column "${name}" that could be masked`, {
      hint: 'Correct "archive.mask" of its table in the configuration.',
    });
  }
  return names.map((name) => ({ name, mask: mask[name] ?? null }));
}

const numbers = /^(smallint|integer|bigint|real|double precision|numeric(\(.*\))?)$/;

/** The columns whose smallest and largest value the manifest tells: the key, and those that are numbers. */
export function summaryColumns(
  definition: TableDefinition,
  columns: CopiedColumn[],
  key: string,
): SummaryColumn[] {
  const types = new Map(definition.columns.map((column) => [column.name, column.type]));
  return columns
    .filter(({ name }) => {
      const type = types.get(name) ?? '';
      // Before PostgreSQL 18 a uuid has no smallest and no largest.
      return numbers.test(type) || (name === key && type !== 'uuid');
    })
    .slice(0, mostSummaries)
    .map(({ name, mask }) => ({ name, expression: mask === null ? `t.${ident(name)}` : `(${mask})` }));
}
