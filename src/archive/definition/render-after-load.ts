import { grantStatements, requalifyPolicies } from '../../partition/create/child.ts';
import { ident, literal, relation, type RelationName } from '../../sql/quote.ts';
import type { ConstraintDefinition, IndexDefinition, TableDefinition } from './definition.ts';
import { objectName } from './names.ts';
import { optionList } from './render-table.ts';

/** What is made when the rows are there. Each list can begin when the one before it is done. */
export interface AfterLoad {
  /** Independent of each other: several sessions may build them at a time. */
  indexes: { name: string; statements: string[] }[];
  /** Primary key, unique and exclusion constraints, and what was not valid; statistics, comments. */
  statements: string[];
  /** COMMENT ON TABLE, which takes the place of a marker of ours. */
  tableComment: string;
  /** Owner, grants, policies, row security: these may name roles and functions that are not there. */
  access: string[];
}

/** Everything that follows the load, as statements without a semicolon. Needs search_path ''. */
export function renderAfterLoad(definition: TableDefinition, target: RelationName): AfterLoad {
  const table = relation(target);
  return {
    indexes: definition.indexes
      .filter((index) => owner(definition, index)?.isPeriod !== true && !isExclusion(definition, index))
      .map((index) => ({
        name: objectName(definition, target, index.name),
        statements: indexStatements(definition, index, target),
      })),
    statements: [
      ...definition.constraints.flatMap((item) => constraintStatements(definition, item, target)),
      ...definition.columns.flatMap((column) =>
        column.notNullConstraint?.isValidated === false
          ? [
              `alter table ${table} add constraint ${ident(column.notNullConstraint.name)} not null ${ident(column.name)} not valid`,
            ]
          : [],
      ),
      ...statisticsStatements(definition, target),
      ...replicaIdentity(definition, target),
      ...comments(definition, target),
    ],
    tableComment: `comment on table ${table} is ${definition.comment === null || definition.comment.startsWith('dbops:') ? 'null' : literal(definition.comment)}`,
    access: accessStatements(definition, target),
  };
}

function owner(definition: TableDefinition, index: IndexDefinition): ConstraintDefinition | undefined {
  return definition.constraints.find((item) => item.name === index.constraint && item.kind !== 'check');
}

function isExclusion(definition: TableDefinition, index: IndexDefinition): boolean {
  return owner(definition, index)?.kind === 'exclusion';
}

/** The index first and the constraint from it: so it can be built beside others, and keeps its options. */
function indexStatements(
  definition: TableDefinition,
  index: IndexDefinition,
  target: RelationName,
): string[] {
  const name = ident(objectName(definition, target, index.name));
  return [
    `create ${index.isUnique ? 'unique ' : ''}index ${name} on ${relation(target)} using ${index.definition}`,
    ...indexSettings(definition, index, target),
  ];
}

function indexSettings(definition: TableDefinition, index: IndexDefinition, target: RelationName): string[] {
  const name = { schema: target.schema, name: objectName(definition, target, index.name) };
  return [
    ...index.statistics.map(
      (item) =>
        `alter index ${relation(name)} alter column ${String(item.column)} set statistics ${String(item.target)}`,
    ),
    ...(index.comment === null ? [] : [`comment on index ${relation(name)} is ${literal(index.comment)}`]),
    ...(index.isClustered ? [`alter table ${relation(target)} cluster on ${ident(name.name)}`] : []),
  ];
}

function constraintStatements(
  definition: TableDefinition,
  item: ConstraintDefinition,
  target: RelationName,
): string[] {
  const table = relation(target);
  const index = definition.indexes.find((row) => row.constraint === item.name && item.kind !== 'check');
  const name = index === undefined ? item.name : objectName(definition, target, item.name);
  const comment =
    item.comment === null
      ? []
      : [`comment on constraint ${ident(name)} on ${table} is ${literal(item.comment)}`];
  if (item.kind === 'check') {
    const add = `alter table ${table} add constraint ${ident(name)} ${item.definition}`;
    return [...(item.isValidated ? [] : [add]), ...comment];
  }
  if (index === undefined || item.isPeriod || item.kind === 'exclusion') {
    return [
      `alter table ${table} add constraint ${ident(name)} ${item.definition}`,
      ...(index === undefined || index.options.length === 0
        ? []
        : [`alter index ${relation({ schema: target.schema, name })} set (${optionList(index.options)})`]),
      ...(index === undefined ? [] : indexSettings(definition, { ...index, name: item.name }, target)),
      ...comment,
    ];
  }
  const using = ident(objectName(definition, target, index.name));
  const deferral = item.deferral === '' ? '' : ` ${item.deferral}`;
  return [
    `alter table ${table} add constraint ${ident(name)} ${item.kind} using index ${using}${deferral}`,
    ...comment,
  ];
}

function statisticsStatements(definition: TableDefinition, target: RelationName): string[] {
  return definition.statistics.flatMap((item) => {
    // In the table's own schema they move with it; elsewhere they are by intent.
    const schema = item.schema === definition.name.schema ? target.schema : item.schema;
    const name = relation({ schema, name: objectName(definition, target, item.name) });
    const kinds = item.kinds.length === 0 ? '' : ` (${item.kinds.join(', ')})`;
    return [
      `create statistics ${name}${kinds} on ${item.columns} from ${relation(target)}`,
      ...(item.target === null ? [] : [`alter statistics ${name} set statistics ${String(item.target)}`]),
      ...(item.comment === null ? [] : [`comment on statistics ${name} is ${literal(item.comment)}`]),
    ];
  });
}

function replicaIdentity(definition: TableDefinition, target: RelationName): string[] {
  const { kind, index } = definition.replicaIdentity;
  if (kind === 'default') return [];
  if (kind !== 'index') return [`alter table ${relation(target)} replica identity ${kind}`];
  // Its index may have been left out for a masked column.
  if (!definition.indexes.some((item) => item.name === index)) return [];
  const name = ident(objectName(definition, target, index ?? ''));
  return [`alter table ${relation(target)} replica identity using index ${name}`];
}

function comments(definition: TableDefinition, target: RelationName): string[] {
  const table = relation(target);
  return [
    ...definition.columns.flatMap((column) => [
      ...(column.comment === null
        ? []
        : [`comment on column ${table}.${ident(column.name)} is ${literal(column.comment)}`]),
      ...(column.notNullConstraint === null || column.notNullConstraint.comment === null
        ? []
        : [
            `comment on constraint ${ident(column.notNullConstraint.name)} on ${table} is ${literal(column.notNullConstraint.comment)}`,
          ]),
    ]),
  ];
}

function accessStatements(definition: TableDefinition, target: RelationName): string[] {
  const table = relation(target);
  const role = (name: string) => (name === 'public' ? 'public' : ident(name));
  return [
    ...grantStatements(definition, table),
    ...requalifyPolicies(definition.policies, definition.name.name, target.name).map((policy) =>
      [
        `create policy ${ident(policy.name)} on ${table} as ${policy.isPermissive ? 'permissive' : 'restrictive'}`,
        `for ${policy.command} to ${policy.roles.map(role).join(', ')}`,
        ...(policy.using === null ? [] : [`using (${policy.using})`]),
        ...(policy.check === null ? [] : [`with check (${policy.check})`]),
      ].join(' '),
    ),
    ...(definition.rowSecurity ? [`alter table ${table} enable row level security`] : []),
    ...(definition.forceRowSecurity ? [`alter table ${table} force row level security`] : []),
    // Last: who gives the table away may change nothing of it any more.
    `alter table ${table} owner to ${ident(definition.owner)}`,
  ];
}
