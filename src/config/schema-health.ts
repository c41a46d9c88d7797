import * as z from 'zod/mini';
import { name } from './schema-basics.ts';

/** A number in the unit of its check, or "10 GB", "30 min", "80 %". Which of them a check takes, health/ knows. */
const bound = z.union([z.number(), name], { error: 'must be a number, or text such as "10 GB" or "30 min"' });

const limits = {
  warn: z.optional(bound).check(z.describe('From where on it is a warning.')),
  crit: z
    .optional(
      z.union([bound, z.literal('never')], { error: 'must be a number, a size, a duration or "never"' }),
    )
    .check(z.describe('From where on it is critical; "never" keeps it a warning.')),
};

const profile = z.enum(['daily', 'weekly', 'monthly', 'deploy']);

const ownCheck = z.strictObject({
  sql: name.check(
    z.describe(
      'A query that returns one row with "value", or several with "object" and "value"; "detail" is shown beside it.',
    ),
  ),
  answers: z.optional(name).check(z.describe('What it answers, in a few words.')),
  unit: z.optional(z.enum(['percent', 'count', 'bytes', 'seconds', 'days'])),
  worse: z
    .optional(z.enum(['above', 'below']))
    .check(z.describe('Whether larger values are worse (above, the default) or smaller ones.')),
  warn: bound,
  crit: limits.crit,
  advice: z.optional(name).check(z.describe('What to do about it.')),
  profiles: z.optional(z.array(profile)),
});

export const health = z.strictObject({
  skip: z.optional(z.array(name)).check(z.describe('Checks or groups that are left out.')),
  thresholds: z
    .optional(
      z.record(
        z.string(),
        z.strictObject({
          ...limits,
          objects: z
            .optional(z.record(z.string(), z.strictObject({ ...limits, ignore: z.optional(z.boolean()) })))
            .check(z.describe('For single tables, roles, slots ..., by name; * stands for anything.')),
        }),
      ),
    )
    .check(z.describe('Thresholds by check, such as connections.used.')),
  checks: z
    .optional(z.record(z.string(), ownCheck))
    .check(z.describe('Checks of your own, by a name such as outbox.pending.')),
});

export type FileOwnCheck = z.infer<typeof ownCheck>;
