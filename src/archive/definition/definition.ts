import * as z from 'zod/mini';

const text = z.string();
const name = z.object({ schema: text, name: text });

const identity = z.object({
  kind: z.enum(['always', 'by default']),
  options: text.check(z.describe('Of its sequence, as CREATE TABLE takes them in parentheses')),
});

/** A column as the catalog has it, dropped ones left out. */
const column = z.object({
  name: text,
  type: text.check(z.describe('format_type, with every name qualified')),
  collation: z.nullable(text).check(z.describe("Quoted name; null: the type's own")),
  notNull: z.boolean(),
  notNullConstraint: z
    .nullable(
      z.object({ name: text, isNoInherit: z.boolean(), isValidated: z.boolean(), comment: z.nullable(text) }),
    )
    .check(z.describe('PostgreSQL 18 and later name them')),
  default: z.nullable(text),
  generated: z.nullable(z.object({ expression: text, kind: z.enum(['stored', 'virtual']) })),
  identity: z.nullable(identity).check(z.describe('Null too where a partition shares that of its parent')),
  storage: z.nullable(text).check(z.describe("Null: the type's own")),
  compression: z.nullable(text),
  statistics: z.nullable(z.int()),
  options: z.array(text).check(z.describe('Such as n_distinct=-1')),
  comment: z.nullable(text),
});

const constraint = z.object({
  name: text,
  kind: z.enum(['check', 'primary key', 'unique', 'exclusion']),
  definition: text.check(z.describe('pg_get_constraintdef')),
  columns: z.array(text),
  deferral: text.check(z.describe('Empty, or DEFERRABLE ...')),
  isPeriod: z.boolean().check(z.describe('WITHOUT OVERLAPS; PostgreSQL 18 and later')),
  isValidated: z.boolean(),
  comment: z.nullable(text),
});

const index = z.object({
  name: text,
  isUnique: z.boolean(),
  definition: text.check(z.describe('What stands behind USING')),
  columns: z.array(text).check(z.describe('Every column that it reads, also by expressions')),
  constraint: z.nullable(text).check(z.describe('The constraint that owns it')),
  options: z.array(text),
  statistics: z.array(z.object({ column: z.int(), target: z.int() })),
  isClustered: z.boolean(),
  tablespace: z.nullable(text),
  comment: z.nullable(text),
});

const statistics = z.object({
  schema: text,
  name: text,
  kinds: z.array(text),
  columns: text.check(z.describe('Columns and expressions, as CREATE STATISTICS takes them')),
  target: z.nullable(z.int()),
  comment: z.nullable(text),
});

const grant = z.object({
  grantee: text.check(z.describe('A role, or public')),
  privilege: text,
  isGrantable: z.boolean(),
  column: z.nullable(text),
});

const policy = z.object({
  name: text,
  isPermissive: z.boolean(),
  command: text,
  roles: z.array(text),
  using: z.nullable(text),
  check: z.nullable(text),
});

/** Something that is told but not made again: its name and the statement that makes it. */
const recorded = z.object({ name: text, definition: text });

/** What has to be there before the table can be: a type, a function, a sequence. */
const requirement = z.object({
  kind: z.enum([
    'schema',
    'extension',
    'collation',
    'enum',
    'composite',
    'domain',
    'range',
    'sequence',
    'function',
  ]),
  name: text.check(z.describe('Quoted, as SQL names it')),
  definition: text.check(z.describe('What follows CREATE ... <name>; for functions the whole statement')),
  comment: z.nullable(text),
});

/** What a table is, in full: enough to make it again under any name, and to say whether it was changed. */
export const tableDefinition = z.object({
  name,
  versionNum: z.int().check(z.describe('server_version_num of the server that it was read from')),
  owner: text,
  persistence: z.enum(['permanent', 'unlogged']),
  accessMethod: text,
  tablespace: z.nullable(text).check(z.describe('Told, not required')),
  options: z.array(text),
  toastOptions: z.array(text),
  replicaIdentity: z.object({
    kind: z.enum(['default', 'nothing', 'full', 'index']),
    index: z.nullable(text),
  }),
  rowSecurity: z.boolean(),
  forceRowSecurity: z.boolean(),
  comment: z.nullable(text),
  columns: z.array(column),
  constraints: z.array(constraint),
  indexes: z.array(index),
  statistics: z.array(statistics),
  grants: z.array(grant),
  policies: z.array(policy),
  foreignKeys: z
    .array(recorded)
    .check(
      z.describe('Not made again: rows of other tables come and go. An attach takes them from the parent'),
    ),
  triggers: z.array(recorded).check(z.describe('Not made again')),
  rules: z.array(recorded).check(z.describe('Not made again')),
  requirements: z.array(requirement).check(z.describe('In the order in which they can be made')),
  notes: z.array(text).check(z.describe('What the table uses or has, and what is not described here')),
});

export type TableDefinition = z.infer<typeof tableDefinition>;
export type ColumnDefinition = z.infer<typeof column>;
export type ConstraintDefinition = z.infer<typeof constraint>;
export type IndexDefinition = z.infer<typeof index>;
export type Requirement = z.infer<typeof requirement>;

/** Columns that COPY writes, in their order: generated ones are computed again. */
export function storedColumns(definition: TableDefinition): string[] {
  return definition.columns.filter((item) => item.generated === null).map((item) => item.name);
}

/** Whether a value's text depends on lc_monetary. */
export function usesMoney(definition: TableDefinition): boolean {
  const texts = [
    ...definition.columns.map((item) => item.type),
    ...definition.requirements.map((item) => item.definition),
  ];
  return texts.some((item) => /\bmoney\b/.test(item));
}
