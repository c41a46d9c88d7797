import * as z from 'zod/mini';
import { duration, name, size } from './schema-basics.ts';

const parameter = z
  .string()
  .check(
    z.regex(/^(toast\.)?[a-z][a-z0-9_]*$/, 'must be the name of a parameter such as autovacuum_enabled'),
  );

export const maintenance = z.strictObject({
  until: z
    .optional(z.string().check(z.regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time of day such as "05:00"')))
    .check(z.describe('Time of day at which a run ends, in the time zone of defaults.timezone.')),
  jobs: z
    .optional(z.int().check(z.minimum(1), z.maximum(32)))
    .check(z.describe('Tables that are vacuumed or analyzed at once; default 1.')),
  vacuum: z
    .optional(
      z.strictObject({
        skip: z
          .optional(z.array(name))
          .check(z.describe('Tables that are left out, as schema.table; * stands for anything.')),
      }),
    )
    .check(z.describe('What vacuum and analyze choose from.')),
  reindex: z
    .optional(
      z.strictObject({
        bloatSize: z
          .optional(size)
          .check(z.describe('Rebuild an index when so much of it is air; default 100 MB.')),
        bloatShare: z
          .optional(z.number().check(z.minimum(1), z.maximum(100)))
          .check(z.describe('And when so many percent of it are; default 50; 100: never.')),
        skip: z
          .optional(z.array(name))
          .check(z.describe('Indexes that are left out, as schema.index; * stands for anything.')),
      }),
    )
    .check(z.describe('Which indexes a run rebuilds.')),
  refresh: z
    .optional(z.array(z.strictObject({ view: name, every: duration })))
    .check(z.describe('Materialized views, and how old each may become.')),
  autovacuum: z
    .optional(z.record(z.string(), z.record(parameter, z.union([z.number(), z.boolean(), z.string()]))))
    .check(z.describe('Settings of autovacuum by table, such as autovacuum_vacuum_scale_factor.')),
});
