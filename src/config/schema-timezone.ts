import * as z from 'zod/mini';

export const timezone = z
  .string()
  .check(
    z.refine(isTimeZone, 'must be a time zone name such as Asia/Seoul, Europe/Berlin or UTC'),
    z.describe('IANA time zone in which periods begin and times of day are meant, e.g. Asia/Seoul.'),
  );

/** Each zone costs milliseconds to look up, and fifteen tables name the same one. */
const timeZones = new Map<string, boolean>([['UTC', true]]);

/** Whether a zone has that name. Pure. */
export function isTimeZone(text: string): boolean {
  const known = timeZones.get(text) ?? looksUpTimeZone(text);
  timeZones.set(text, known);
  return known;
}

function looksUpTimeZone(text: string): boolean {
  // Newer Node versions take "+09:00" as well, which PostgreSQL reads the other way round.
  if (!/^[A-Za-z]/.test(text)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: text });
    return true;
  } catch {
    return false;
  }
}
