import * as z from 'zod/mini';
import { durationPattern, parseDuration, type Duration } from './duration.ts';
import { sizePattern } from './size.ts';

// A file is checked once: compiling the schema to a function first costs more than it saves.
z.config({ jitless: true });

export const duration = z
  .pipe(
    z.string().check(
      z.regex(new RegExp(durationPattern, 'i'), 'must be a duration such as "90 days", "2 years" or "30s"'),
      // Months and years come whole: what "1.5 years" ends up as must never be guessed where retention hangs on it.
      z.refine((text) => isUsable(parseDuration(text)), {
        error: 'must be whole months or years, and at most 1000 years',
        when: (payload) => payload.issues.length === 0,
      }),
    ),
    z.transform((text): Duration => parseDuration(text) as Duration),
  )
  .check(z.describe('A duration: "90 days", "6 months", "2 years", "30s".'));

export const name = z.string().check(z.minLength(1, 'must not be empty'));

export const size = z
  .string()
  .check(
    z.regex(new RegExp(sizePattern), 'must be a size such as "10 GB" or "512 MB"'),
    z.describe('A size in powers of 1024: "512 MB", "10 GB".'),
  );

const longestDays = 365_250;

function isUsable(duration: Duration | undefined): boolean {
  if (duration === undefined) return false;
  return duration.months * 30.4 + duration.seconds / 86_400 <= longestDays;
}
