import { literal } from '../../sql/quote.ts';
import { typeDefinition } from '../../sql/requirements.ts';
import type { Requirement, TableDefinition } from './definition.ts';

/** Kinds whose definition decides which values there are: one of the same name that is different is no stand-in. */
const types = new Set(['enum', 'composite', 'domain', 'range']);

/**
 * Statements that make what the table needs, each of them skipped where it is there already. They raise an error where a
 * type of that name is different. A function or a sequence that is there is taken as it is. Needs search_path ''.
 */
export function renderTypes(definition: Pick<TableDefinition, 'requirements'>): string[] {
  return definition.requirements.map((item) =>
    item.kind === 'extension'
      ? `create extension if not exists ${item.name} with ${item.definition}`
      : block(item),
  );
}

/** The statement that makes it where it is not there yet. */
function createStatement(item: Requirement): string {
  switch (item.kind) {
    case 'schema':
      return `create schema ${item.name}`;
    case 'domain':
      return `create domain ${item.name} as ${item.definition}`;
    case 'sequence':
    case 'collation':
      return `create ${item.kind} ${item.name} ${item.definition}`;
    case 'function':
      return item.definition.trimEnd();
    case 'extension':
      return `create extension ${item.name} with ${item.definition}`;
    default:
      return `create type ${item.name} as ${item.definition}`;
  }
}

/** Answers null where there is none of that name. */
function lookup(item: Requirement): string {
  const name = literal(item.name);
  if (types.has(item.kind)) return `pg_catalog.to_regtype(${name})`;
  switch (item.kind) {
    case 'schema':
      return `pg_catalog.to_regnamespace(${name})`;
    case 'function':
      return `pg_catalog.to_regprocedure(${name})`;
    case 'collation':
      return `pg_catalog.to_regcollation(${name})`;
    default:
      return `pg_catalog.to_regclass(${name})`;
  }
}

function block(item: Requirement): string {
  const label = item.kind === 'function' ? 'function' : item.kind === 'domain' ? 'domain' : 'type';
  const commentKind = ['function', 'domain', 'sequence', 'collation', 'schema'].includes(item.kind)
    ? item.kind
    : 'type';
  const lines = [
    'begin',
    `  if ${lookup(item)} is null then`,
    // A body may hold semicolons outside of quotes (BEGIN ATOMIC), which this block would end at.
    item.kind === 'function'
      ? `    execute ${literal(createStatement(item))};`
      : `    ${createStatement(item)};`,
  ];
  if (item.comment !== null)
    lines.push(`    comment on ${commentKind} ${item.name} is ${literal(item.comment)};`);
  if (types.has(item.kind)) {
    lines.push(
      `  elsif (select ${typeDefinition}`,
      `           from pg_catalog.pg_type as t where t.oid = ${lookup(item)})`,
      `        is distinct from ${literal(item.definition)} then`,
      `    raise exception using message = ${literal(`${label} ${item.name} is there already, with another definition`)},`,
      `      errcode = 'duplicate_object', hint = ${literal('Rename it, or load into another database.')};`,
    );
  }
  lines.push('  end if;', 'end');
  return doBlock(lines.join('\n'));
}

/** DO with a quote that the body does not hold. */
export function doBlock(body: string): string {
  let quote = '$dbops$';
  for (let number = 1; body.includes(quote); number += 1) quote = `$dbops${String(number)}$`;
  return `do ${quote}\n${body}\n${quote}`;
}

/** Runs a statement and turns what is missing (a role, a function of a policy) into a warning. */
export function tolerantBlock(statement: string): string {
  return doBlock(
    [
      'begin',
      `  execute ${literal(statement)};`,
      'exception',
      '  when undefined_object or undefined_table or undefined_column or undefined_function or insufficient_privilege then',
      `    raise warning '%; left out: %', sqlerrm, ${literal(statement)};`,
      'end',
    ].join('\n'),
  );
}
