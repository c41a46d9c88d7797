import * as z from 'zod/mini';
import { name } from './schema-basics.ts';

const wanted = z.strictObject({
  table: name.check(z.describe('schema.table; mixed case is written as it is, without quotes.')),
  columns: z
    .array(name)
    .check(
      z.minLength(1, 'must name a column'),
      z.describe('Columns or expressions, each with what may follow it: "created_at desc", "lower(email)".'),
    ),
  unique: z.optional(z.boolean()),
  where: z.optional(name).check(z.describe("SQL condition of a partial index: status = 'PENDING'.")),
  method: z.optional(name).check(z.describe('btree (the default), hash, gin, gist, brin ...')),
  include: z.optional(z.array(name)).check(z.describe('Columns that are carried along and not searched by.')),
  name: z.optional(name).check(z.describe('Of the index; by default the one that PostgreSQL would give it.')),
});

export const indexes = z.array(wanted);
export type FileIndex = z.infer<typeof wanted>;
