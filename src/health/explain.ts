import type { Settings } from '../config/settings.ts';
import type { HealthFacts } from '../sql/health-facts.ts';
import type { Check, Thresholds } from './check.ts';
import type { PlannedCheck } from './run.ts';
import { floorOf, humanValue } from './thresholds.ts';

/** Everything about a check that does not take a server. */
export interface Explanation {
  id: string;
  group: string;
  answers: string;
  why: string;
  judgedBy: string;
  source: string | null;
  objects: { object: string; judgedBy: string }[];
  takes: string[];
  profiles: readonly string[];
  advice: string;
  /** The statement; in words where it is more than one. */
  asks: string;
}

/** "warn at 80 %, crit at 90 %". Pure. */
export function describeThresholds(thresholds: Thresholds | undefined): string {
  if (thresholds === undefined) return 'yes or no';
  const { unit, worse, warn, crit } = thresholds;
  const from = worse === 'above' ? 'from' : 'at or below';
  const parts = [`warn ${from} ${humanValue(warn, unit)}`];
  if (crit !== null) parts.push(`crit ${from} ${humanValue(crit, unit)}`);
  return parts.join(', ');
}

/** Pure. */
export function explain(settings: Settings, { check, bounds }: PlannedCheck): Explanation {
  return {
    id: check.id,
    group: check.group,
    answers: check.answers,
    why: check.why,
    judgedBy: describeThresholds(bounds.general),
    source: check.source ?? null,
    objects: bounds.objects.map(({ pattern, thresholds }) => ({
      object: pattern,
      judgedBy: thresholds === 'ignore' ? 'is ignored' : describeThresholds(thresholds),
    })),
    takes: requirements(check),
    profiles: check.profiles,
    advice: check.advice,
    asks: 'look' in check ? check.asks : statementOf(check, settings, floorOf(bounds)),
  };
}

function requirements(check: Check): string[] {
  const { privilege = [], extension, since, notOnStandby, notOnPrimary, countedHours } = check;
  return [
    ...(privilege.length === 0 ? [] : [`one of the roles ${privilege.join(', ')}`]),
    ...(extension === undefined ? [] : [`the extension ${extension}`]),
    ...(since === undefined ? [] : [`PostgreSQL ${String(Math.floor(since / 10_000))} or later`]),
    ...(notOnStandby === undefined ? [] : [`a primary: ${notOnStandby}`]),
    ...(notOnPrimary === undefined ? [] : [`a standby: ${notOnPrimary}`]),
    ...(countedHours === undefined ? [] : [`statistics of ${String(countedHours)} hours`]),
  ];
}

/** The statement as a current server gets it; its values are written behind it. */
function statementOf(check: Exclude<Check, { look: unknown }>, settings: Settings, floor: number): string {
  const facts: HealthFacts = {
    roles: [],
    // Where an extension is, only its database knows; public is where most have it.
    extensions:
      check.extension === undefined ? [] : [{ name: check.extension, schema: 'public', version: '' }],
    countedSince: null,
    startedAt: new Date(0),
    parameters: {},
  };
  const server = { versionNum: 180_000, database: 'postgres', isStandby: false };
  const { text, values = [] } = check.question({ server, facts, settings, floor });
  const lines = text.split('\n');
  const indents = lines.slice(1).map((line) => /^ */.exec(line)?.[0].length ?? 0);
  const indent = Math.min(...indents, 80);
  const shown = lines.map((line, index) => (index === 0 ? line : line.slice(indent))).join('\n');
  const given = values.map((value, index) => `-- $${String(index + 1)}: ${JSON.stringify(value)}`);
  return [shown, ...given].join('\n');
}
