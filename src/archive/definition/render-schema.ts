import { displayName, ident, literal, relation, visible, type RelationName } from '../../sql/quote.ts';
import { usesMoney, type TableDefinition } from './definition.ts';
import { withoutMasked } from './masked.ts';
import { renderAfterLoad } from './render-after-load.ts';
import { renderTypes, tolerantBlock } from './render-requirements.ts';
import { renderTable } from './render-table.ts';

export interface SchemaSqlOptions {
  /** The table that it was a partition of, with `bounds`: FOR VALUES .... */
  parent?: RelationName | undefined;
  bounds?: string | undefined;
  /** Columns whose values were replaced on the way out. */
  masked?: string[];
  /** As it was pinned for the export, where there is money: C shows the cents that are stored. */
  lcMonetary?: string;
}

/**
 * schema.sql for people: makes the table under its own name, in one go and with any psql from 14 on. `\if` and COPY stay
 * out of it: it can be run before the load, or cut in two at the line that says so.
 */
export function renderSchemaSql(original: TableDefinition, options: SchemaSqlOptions = {}): string {
  const { definition, dropped } = withoutMasked(original, options.masked ?? []);
  const target = definition.name;
  const after = renderAfterLoad(definition, target);
  const schemaStatement = renderTypes({
    ...definition,
    requirements: [
      { kind: 'schema', name: ident(target.schema), definition: '', comment: null },
      ...definition.requirements.filter(
        (item) => item.kind !== 'schema' || item.name !== ident(target.schema),
      ),
    ],
  });
  const settings = statements([
    "set client_encoding = 'UTF8'",
    "set search_path = ''",
    "set datestyle = 'ISO, YMD'",
    "set intervalstyle = 'postgres'",
    "set timezone = 'UTC'",
    'set standard_conforming_strings = on',
    'set check_function_bodies = off',
    ...(usesMoney(definition) ? [`set lc_monetary = ${literal(options.lcMonetary ?? 'C')}`] : []),
  ]);
  const sections = [
    remarks([
      `${displayName(target)}, as it was archived. Run it with psql and ON_ERROR_STOP, in a database with UTF8.`,
      `Read from PostgreSQL ${String(Math.floor(definition.versionNum / 10_000))}.`,
    ]),
    settings,
    remarks(['What the table needs; what is there already is kept, and refused where it is different.']),
    statements(schemaStatement),
    remarks(['The table.', ...told(definition)]),
    statements(renderTable(definition, target)),
    remarks([
      'After the load: indexes, constraints, statistics, comments. Before it they only slow it down.',
    ]),
    settings,
    ...(dropped.length === 0
      ? []
      : [
          remarks([
            'Left out, since masked values need not keep them:',
            ...dropped.map((item) => `  ${item}`),
          ]),
        ]),
    statements([
      ...after.indexes.flatMap((index) => index.statements),
      ...after.statements,
      after.tableComment,
    ]),
    remarks(['Owner, grants and policies. A role that is not there is a warning, and the rest goes on.']),
    statements(after.access.map(tolerantBlock)),
    notMade(definition, options),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

function told(definition: TableDefinition): string[] {
  return [
    ...(definition.tablespace === null ? [] : [`It lay in the tablespace ${definition.tablespace}.`]),
    ...definition.notes,
  ];
}

/** Triggers, rules, foreign keys and the attach, as comments with the reason. */
function notMade(definition: TableDefinition, { parent, bounds }: SchemaSqlOptions): string {
  const listed = (title: string, items: { name: string; definition: string }[], prefix = '') =>
    items.length === 0 ? [] : [remarks([title, ...items.map((item) => `  ${prefix}${item.definition};`)])];
  const table = relation(definition.name);
  return [
    ...listed(
      'Triggers that it had. They would act on what is loaded; add them by hand where wanted.',
      definition.triggers,
    ),
    ...listed('Rules that it had.', definition.rules),
    ...listed(
      'Foreign keys that it had. The rows they name may be gone; an attach takes them from the parent.',
      definition.foreignKeys,
      `alter table ${table} add `,
    ),
    ...(parent === undefined || bounds === undefined
      ? []
      : [
          remarks([
            'It was a partition. Attaching is apart, since the parent may not be here, or may have other rows there:',
            `  alter table ${relation(parent)} attach partition ${table} ${bounds};`,
          ]),
        ]),
  ].join('\n\n');
}

function statements(list: string[]): string {
  return list.map((statement) => `${statement};`).join('\n');
}

/** A newline in a name must not turn the rest of a comment into a statement. */
function remarks(lines: string[]): string {
  return lines
    .flatMap((line) => line.split('\n'))
    .map((line) => `-- ${visible(line)}`)
    .join('\n');
}
