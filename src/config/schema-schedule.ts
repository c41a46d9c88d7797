import * as z from 'zod/mini';
import { duration, name } from './schema-basics.ts';
import { timezone } from './schema-timezone.ts';

/** One job; each is checked on its own, so that a mistake in one hides none in another. */
export const scheduleJob = z.strictObject({
  name: z
    .string()
    .check(
      z.regex(
        /^[a-z0-9](-?[a-z0-9])*$/,
        'must be a name in lower case with digits and hyphens, such as nightly-vacuum',
      ),
      z.maxLength(40, 'must be at most 40 characters long'),
      z.describe('Names the job in the history, in systemd and in Kubernetes.'),
    ),
  cron: z
    .string()
    .check(
      z.describe(
        'Five fields: minute, hour, day of month, month, day of week; or @daily and the like. A day of month and a day of week together mean either.',
      ),
    ),
  run: z
    .optional(name)
    .check(z.describe('A command without the word dbops: "partition ensure", "health --profile weekly".')),
  sql: z.optional(name).check(z.describe('Instead of a command: one SQL statement.')),
  timezone: z.optional(timezone),
  timeLimit: z
    .optional(duration)
    .check(z.describe('The job is ended after this time: asked to at first, then killed.')),
  notify: z.optional(
    z.strictObject({
      webhook: z.optional(name).check(z.describe('A URL that gets a JSON document when the job has ended.')),
      healthcheck: z
        .optional(name)
        .check(z.describe('A URL in the manner of healthchecks.io: /start, the URL itself, or /fail.')),
    }),
  ),
});

export const schedule = z.array(scheduleJob);

export type FileScheduleJob = z.infer<typeof scheduleJob>;
