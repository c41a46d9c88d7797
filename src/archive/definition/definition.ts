import * as z from 'zod/mini';

const text = z.string();

/** A column as the catalog has it, dropped ones left out. */
const column = z.object({
  name: text,
  type: text.check(z.describe('format_type, with every name qualified')),
  collation: z.nullable(text),
  notNull: z.boolean(),
  default: z.nullable(text),
  generated: z.nullable(text).check(z.describe('The expression of a generated column')),
  identity: z.nullable(z.enum(['always', 'by default'])),
  storage: text,
  compression: z.nullable(text),
  statistics: z.nullable(z.int()),
  comment: z.nullable(text),
});

/** What a table is, in full: enough to make it again under any name, and to say whether it was changed. */
export const tableDefinition = z.object({
  columns: z.array(column),
});

export type TableDefinition = z.infer<typeof tableDefinition>;
export type ColumnDefinition = z.infer<typeof column>;
