import { ident, literal, relation, type RelationName } from '../../sql/quote.ts';
import type { ColumnDefinition, TableDefinition } from './definition.ts';

/**
 * Statements that make the table, empty and without indexes: columns, NOT NULL and CHECK, so that the load tests every
 * row, and how it is stored. What was not valid comes after the load (`renderAfterLoad`), since rows may break it.
 * The tablespace is not asked for: another server may not have it. Needs search_path '' and the types (`renderTypes`).
 */
export function renderTable(definition: TableDefinition, target: RelationName): string[] {
  const table = relation(target);
  const checks = definition.constraints
    .filter((item) => item.kind === 'check' && item.isValidated)
    .map((item) => `  constraint ${ident(item.name)} ${item.definition}`);
  const lines = [...definition.columns.map((column) => `  ${columnClause(column)}`), ...checks];
  const kind = definition.persistence === 'unlogged' ? 'unlogged table' : 'table';
  const using = definition.accessMethod === 'heap' ? '' : ` using ${ident(definition.accessMethod)}`;
  const body = lines.length === 0 ? '()' : `(\n${lines.join(',\n')}\n)`;
  const columnActions = definition.columns.flatMap(columnSettings);
  return [
    `create ${kind} ${table} ${body}${using}${storageOptions(definition)}`,
    // One statement: each ALTER TABLE of a table with 1,600 columns copies its whole catalog entry.
    ...(columnActions.length === 0 ? [] : [`alter table ${table}\n  ${columnActions.join(',\n  ')}`]),
  ];
}

function columnClause(column: ColumnDefinition): string {
  const parts = [ident(column.name), column.type];
  if (column.compression !== null) parts.push(`compression ${column.compression}`);
  if (column.collation !== null) parts.push(`collate ${column.collation}`);
  if (column.default !== null) parts.push(`default ${column.default}`);
  if (column.generated !== null)
    parts.push(`generated always as (${column.generated.expression}) ${column.generated.kind}`);
  if (column.identity !== null)
    parts.push(`generated ${column.identity.kind} as identity (${column.identity.options})`);
  const constraint = column.notNullConstraint;
  if (column.notNull && (constraint === null || constraint.isValidated)) {
    const name = constraint === null ? '' : `constraint ${ident(constraint.name)} `;
    parts.push(`${name}not null${constraint?.isNoInherit === true ? ' no inherit' : ''}`);
  }
  return parts.join(' ');
}

function columnSettings(column: ColumnDefinition): string[] {
  const alter = `alter column ${ident(column.name)}`;
  return [
    ...(column.storage === null ? [] : [`${alter} set storage ${column.storage}`]),
    ...(column.statistics === null ? [] : [`${alter} set statistics ${String(column.statistics)}`]),
    ...(column.options.length === 0 ? [] : [`${alter} set (${optionList(column.options)})`]),
  ];
}

function storageOptions(definition: TableDefinition): string {
  const toast = definition.toastOptions.map((option) => `toast.${option}`);
  const all = [...definition.options, ...toast];
  return all.length === 0 ? '' : `\nwith (${optionList(all)})`;
}

/** name=value of a reloptions array as WITH and SET take them. */
export function optionList(options: string[]): string {
  return options
    .map((option) => {
      const at = option.indexOf('=');
      const name = option.slice(0, at).split('.').map(ident).join('.');
      return `${name} = ${literal(option.slice(at + 1))}`;
    })
    .join(', ');
}
