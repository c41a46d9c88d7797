import type { FileOwnCheck } from '../config/schema-health.ts';
import { type Check, type Look, type Thresholds } from './check.ts';
import { humanValue, parseBound, type BoundsProblem } from './thresholds.ts';

/** What a query of the configuration may return. */
interface OwnRow {
  object?: unknown;
  value?: unknown;
  detail?: unknown;
}

/** Checks of the configuration, and what is wrong with them. Pure. */
export function readOwnChecks(
  own: Record<string, FileOwnCheck>,
  known: ReadonlySet<string>,
): { checks: Check[]; problems: BoundsProblem[] } {
  const problems: BoundsProblem[] = [];
  const checks = Object.entries(own).flatMap(([id, written]): Check[] => {
    const path = ['health', 'checks', id];
    if (!/^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+$/.test(id))
      problems.push({ path, message: 'must be a name in lower case with a point, such as outbox.pending' });
    if (known.has(id)) {
      problems.push({ path, message: 'is a check of dbops itself; choose another name' });
      return [];
    }
    const thresholds = ownThresholds(written, path, problems);
    const check: Check = {
      id,
      group: 'custom',
      answers: written.answers ?? 'what its query says',
      why: 'It is a check of the configuration.',
      advice: written.advice ?? 'The configuration gives no advice for it.',
      thresholds,
      source: 'the configuration',
      profiles: written.profiles ?? ['daily', 'weekly', 'monthly', 'deploy'],
      asks: written.sql,
      look: async ({ db }) => {
        // What a query of the configuration does beside answering is not for a morning's look; a second statement could
        // end the transaction that only reads.
        const query = { text: `/* dbops:health.own */ ${written.sql}`, isOneStatement: true };
        const rows = await db.transaction(() => db.query<OwnRow>(query), 'repeatable read, read only');
        return judgeOwn(rows, thresholds);
      },
    };
    return [check];
  });
  return { checks, problems };
}

function ownThresholds(written: FileOwnCheck, path: string[], problems: BoundsProblem[]): Thresholds {
  const unit = written.unit ?? 'count';
  const worse = written.worse ?? 'above';
  const read = (name: 'warn' | 'crit', value: number | string): number => {
    const bound = parseBound(value, unit);
    if (bound === undefined)
      problems.push({
        path: [...path, name],
        message: `must be a value in ${unit}, not ${JSON.stringify(value)}`,
      });
    return bound ?? 0;
  };
  const warn = read('warn', written.warn);
  const crit = written.crit === undefined || written.crit === 'never' ? null : read('crit', written.crit);
  if (crit !== null && (worse === 'above' ? crit < warn : crit > warn))
    problems.push({
      path: [...path, 'crit'],
      message: `must be ${worse === 'above' ? 'at least' : 'at most'} warn, which is ${humanValue(warn, unit)}`,
    });
  return { unit, worse, warn, crit };
}

/** Rows without a value that is a number are unknown: a query that is wrong must not look well. */
function judgeOwn(rows: OwnRow[], { unit }: Thresholds): Look {
  const observations = rows.map((row) => {
    const value = numberOf(row.value);
    const isNumber = Number.isFinite(value);
    return {
      object: textOf(row.object) ?? null,
      value: isNumber ? value : null,
      message: isNumber ? `the value is ${humanValue(value, unit)}` : 'its query gives no number in "value"',
      detail: textOf(row.detail),
    };
  });
  if (observations.length === 0) return { observations, summary: 'its query gives no rows' };
  const [first] = observations;
  return {
    observations,
    summary:
      observations.length === 1 ? (first?.message ?? '') : `${String(observations.length)} values, all well`,
  };
}

/** NaN for what is none: JavaScript takes an empty array and blanks for 0, which would look well. */
function numberOf(value: unknown): number {
  const isNumber = ['number', 'bigint', 'boolean'].includes(typeof value);
  return isNumber || (typeof value === 'string' && value.trim() !== '') ? Number(value) : NaN;
}

/** A name or a number, such as the key of a row. */
function textOf(value: unknown): string | undefined {
  return ['string', 'number', 'bigint'].includes(typeof value) ? String(value) : undefined;
}
