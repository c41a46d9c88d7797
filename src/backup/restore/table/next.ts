import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { shellWord } from '../../../output/shell-word.ts';
import { parseBound } from '../../../partition/model/bounds.ts';
import { displayName, ident, relation, type RelationName } from '../../../sql/quote.ts';
import { runRestoreTool, type Dump } from '../database/dump.ts';
import { fetchContext } from '../database/plan.ts';
import { statementsIn, unquoted } from '../database/script.ts';
import type { TableContents } from './contents.ts';
import type { TableContext } from './context.ts';
import type { Definition } from './definition.ts';
import type { TablePlan } from './plan.ts';

/** What the table was a partition of. */
export interface Attach {
  parent: RelationName;
  /** FOR VALUES ..., or DEFAULT. */
  bound: string;
}

const word = String.raw`(?:"(?:[^"]|"")+"|[^\s";,.()]+)`;
const pattern = new RegExp(
  String.raw`^ALTER TABLE ONLY (${word})\.(${word}) ATTACH PARTITION ${word}\.${word} ([^]+)$`,
);

/** Reads ALTER TABLE ... ATTACH PARTITION, as pg_dump writes it; undefined for another statement. */
export function attachIn(statement: string): Attach | undefined {
  const [, schema, name, bound] = pattern.exec(statement) ?? [];
  if (schema === undefined || name === undefined || bound === undefined) return undefined;
  return { parent: { schema: unquoted(schema), name: unquoted(name) }, bound };
}

/** How the table that is restored was attached, from the dump; undefined where it was no partition. */
export async function readAttach(
  context: TableContext,
  plan: TablePlan,
  { dump, contents, directory }: { dump: Dump; contents: TableContents; directory: string },
): Promise<Attach | undefined> {
  if (contents.attach === undefined) return undefined;
  const list = join(directory, 'attach.list');
  await writeFile(list, `${contents.attach.line}\n`);
  const fetching = fetchContext(context, plan.programs);
  const script = await runRestoreTool(fetching, ['-s', '-L', list, '-f', '-', dump.path]);
  return statementsIn(script).flatMap((statement) => attachIn(statement) ?? [])[0];
}

/** Commands that take a restored table into use, one a line. */
export function nextCommands(
  plan: TablePlan,
  definition: Pick<Definition, 'columns'>,
  { attach, hasOriginal }: { attach: Attach | undefined; hasOriginal: boolean },
): string[] {
  const { table, target } = plan;
  return [
    ...(hasOriginal ? takeOver(table, target, definition) : []),
    ...(attach === undefined ? [] : attachment(target, attach)),
    ...(hasOriginal && attach === undefined ? swap(table, target) : []),
  ];
}

function takeOver(
  table: RelationName,
  target: RelationName,
  { columns }: Pick<Definition, 'columns'>,
): string[] {
  const stored = columns.filter((column) => column.generated === null);
  const names = stored.map((column) => ident(column.name)).join(', ');
  const overriding = stored.some((column) => column.identity !== null) ? ' overriding system value' : '';
  return [
    '-- to bring back rows that are missing:',
    `insert into ${relation(table)} (${names})${overriding} select ${names} from ${relation(target)} on conflict do nothing;`,
  ];
}

function attachment(target: RelationName, { parent, bound }: Attach): string[] {
  const parsed = parseBound(bound);
  const [from, until] = parsed.kind === 'range' ? [parsed.from, parsed.to] : [[], []];
  const [first, last] = [from[0], until[0]];
  const isPlain = from.length === 1 && first?.kind === 'value' && last?.kind === 'value';
  return [
    '-- to attach it, once nothing else has its bounds:',
    isPlain
      ? `dbops partition attach ${shellWord(displayName(target))} --to ${shellWord(displayName(parent))} --from ${shellWord(first.text)} --until ${shellWord(last.text)}`
      : `alter table ${relation(parent)} attach partition ${relation(target)} ${bound};`,
  ];
}

/** Foreign keys and views follow the old table: they go by its number. */
function swap(table: RelationName, target: RelationName): string[] {
  const old = { ...table, name: `${table.name}_old` };
  return [
    '-- to put it in the place of the other one; views and foreign keys of others stay with that:',
    'begin;',
    `alter table ${relation(table)} rename to ${ident(old.name)};`,
    ...(target.schema === table.schema
      ? []
      : [`alter table ${relation(target)} set schema ${ident(table.schema)};`]),
    ...(target.name === table.name
      ? []
      : [`alter table ${relation({ ...target, schema: table.schema })} rename to ${ident(table.name)};`]),
    'commit;',
  ];
}
