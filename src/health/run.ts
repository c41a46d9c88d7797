import { DbopsError } from '../errors.ts';
import type { Query } from '../pg/connection.ts';
import { sqlStateOf } from '../pg/sqlstate.ts';
import { countedSince } from '../sql/health-facts.ts';
import { askOnlyQuickly, quickTimeoutMs } from '../sql/quick.ts';
import { ident } from '../sql/quote.ts';
import { type Check, type CheckContext, type Look, type Observation, type Thresholds } from './check.ts';
import type { Finding } from './finding.ts';
import { boundsOf, floorOf, judgeValue, type Bounds } from './thresholds.ts';

/** A check with what its objects are judged by. */
export interface PlannedCheck {
  check: Check;
  bounds: Bounds;
}

export type RunContext = Omit<CheckContext, 'thresholds' | 'floor'>;

/**
 * Runs checks one after the other over one session, and judges what they saw. A check that fails is unknown and the others
 * go on; only a lost connection and an interruption end the run. Changes nothing. Locks: ACCESS SHARE on catalogs.
 */
export async function runChecks(context: RunContext, checks: PlannedCheck[]): Promise<Finding[]> {
  try {
    const findings: Finding[] = [];
    for (const planned of checks) {
      if (context.signal.aborted) throw context.signal.reason as Error;
      const found = await runCheck(context, planned);
      findings.push(...(context.db.server.isStandby ? found.map(onStandby) : found));
    }
    return findings;
  } finally {
    await context.db.resetTimeouts().catch(() => undefined);
  }
}

/** What writes cannot run where the finding was made. */
function onStandby(finding: Finding): Finding {
  const { mend, detail } = finding;
  if (mend === null || !writes.test(mend)) return finding;
  const where = 'its primary has to run that';
  return { ...finding, detail: detail === null ? where : `${detail}; ${where}` };
}

const writes =
  /^(?:grant|create|drop|reindex|alter (?!system)|dbops (?:maintenance|index|partition|archive|capacity|schedule))/;

/** What one check says. */
async function runCheck(context: RunContext, { check, bounds }: PlannedCheck): Promise<Finding[]> {
  const obstacle = obstacleOf(context, check);
  if (obstacle !== undefined) return [obstacle];
  try {
    // For each anew: a statement with a time of its own puts both back when it ends.
    await askOnlyQuickly(context.db);
    const look = await lookWith({ ...context, thresholds: bounds.general, floor: floorOf(bounds) }, check);
    return judge(context, { check, bounds }, look);
  } catch (error) {
    return [unread(context, check, error)];
  }
}

/** Why a check cannot answer here: it does not apply, or something is missing that it takes. */
function obstacleOf({ db, facts, now }: RunContext, check: Check): Finding | undefined {
  const { server } = db;
  const skipped = (message: string) => ({ ...findingOf(check), severity: 'skipped' as const, message });
  const unknown = (message: string, advice: string, mend: string | null = null) => ({
    ...findingOf(check),
    severity: 'unknown' as const,
    message,
    advice,
    mend,
  });
  if (check.since !== undefined && server.versionNum < check.since)
    return skipped(`PostgreSQL ${String(Math.floor(check.since / 10_000))} and later can say`);
  if (check.notOnStandby !== undefined && server.isStandby) return skipped(check.notOnStandby);
  if (check.notOnPrimary !== undefined && !server.isStandby) return skipped(check.notOnPrimary);
  const privileges = check.privilege ?? [];
  if (privileges.length > 0 && !server.isSuperuser && !privileges.some((role) => facts.roles.includes(role)))
    return unknown(
      `role "${server.user}" may not see it`,
      'Give the role what it takes, as a superuser.',
      grantOf(check, server.user),
    );
  if (check.extension !== undefined && !facts.extensions.some(({ name }) => name === check.extension))
    return unknown(
      `the extension ${check.extension} is not in database "${server.database}"`,
      'Install its package, and create it.',
      `create extension ${ident(check.extension)};`,
    );
  const { countedHours } = check;
  if (countedHours !== undefined) {
    const hours = (now.getTime() - countedSince(facts).getTime()) / 3_600_000;
    if (hours < countedHours)
      return unknown(
        `the statistics count for ${hours.toFixed(1)} hours only, and it takes ${String(countedHours)}`,
        'Wait: they began anew with a reset or a crash.',
      );
  }
  return undefined;
}

/** The GRANT that lets a role run a check. */
function grantOf(check: Check, user: string): string {
  return `grant ${check.privilege?.[0] ?? 'pg_monitor'} to ${ident(user)};`;
}

async function lookWith(context: CheckContext, check: Check): Promise<Look> {
  if ('look' in check) return await check.look(context);
  const query: Query = check.question({ ...context, server: context.db.server });
  const rows = await context.db.query<never>(query);
  return check.judge(rows, context);
}

function judge(context: RunContext, { check, bounds }: PlannedCheck, look: Look): Finding[] {
  if (look.skipped !== undefined)
    return [{ ...findingOf(check), severity: 'skipped', message: look.skipped }];
  const findings = look.observations.flatMap((observation): Finding[] => {
    const thresholds = boundsOf(bounds, observation.object);
    return thresholds === undefined
      ? []
      : [countedOf(context, check, look, judged(check, thresholds, observation))];
  });
  const ignored = look.observations.length - findings.length;
  if (findings.some((finding) => finding.severity !== 'ok')) return findings;
  // One line for all that is well; a single value is shown with it.
  const [only, ...others] = findings;
  const base =
    only !== undefined && others.length === 0 ? only : countedOf(context, check, look, findingOf(check));
  // What the summary says of all is not said of those.
  const except = ignored === 0 ? '' : `; ${String(ignored)} ignored as configured`;
  return [{ ...base, severity: 'ok', message: `${look.summary}${except}` }];
}

function judged(check: Check, thresholds: Thresholds | null, observation: Observation): Finding {
  const { value } = observation;
  const severity =
    observation.severity ??
    (value === null ? 'unknown' : thresholds === null ? 'warn' : judgeValue(value, thresholds));
  const isWell = severity === 'ok';
  return {
    ...findingOf(check),
    object: observation.object,
    severity,
    message: observation.message,
    observed: value,
    unit: thresholds?.unit ?? null,
    warn: thresholds?.warn ?? null,
    crit: thresholds?.crit ?? null,
    worse: thresholds?.worse ?? null,
    detail: observation.detail ?? null,
    advice: isWell ? null : (observation.advice ?? check.advice),
    mend: isWell ? null : (observation.mend ?? null),
  };
}

function countedOf({ facts }: RunContext, check: Check, look: Look, finding: Finding): Finding {
  const isCounted = check.isCounted === true || check.countedHours !== undefined;
  return isCounted ? { ...finding, countedSince: look.countedSince ?? countedSince(facts) } : finding;
}

/** Why a question has no answer. Throws what ends the whole run. */
function unread({ db, signal }: RunContext, check: Check, error: unknown): Finding {
  if (!(error instanceof DbopsError) || signal.aborted) throw error;
  if (error.code === 'connection_lost') throw error;
  const unknown = (message: string, advice: string, mend: string | null = null): Finding => ({
    ...findingOf(check),
    severity: 'unknown',
    message,
    detail: error.detail ?? null,
    advice,
    mend,
  });
  switch (sqlStateOf(error)) {
    case '42501':
      return unknown(
        `role "${db.server.user}" may not see it: ${error.message}`,
        'Give the role what it takes, as a superuser.',
        grantOf(check, db.server.user),
      );
    case '55P03':
      return unknown(
        'something that it reads is locked',
        'Look who holds the lock, and ask again.',
        'dbops inspect locks',
      );
    case '57014':
      return unknown(
        `no answer within ${String(quickTimeoutMs / 1000)} s`,
        'Ask for this check alone when the server is less busy.',
        `dbops health --only ${check.id}`,
      );
    case '42P01':
    case '42883':
      return unknown(
        error.message,
        'Write tables and functions with their schema: the search_path of this session is empty.',
      );
    default:
      return unknown(error.message, error.hint ?? 'See the log of the server.');
  }
}

/** A finding of a check about nothing in particular yet. */
function findingOf(check: Pick<Check, 'id' | 'group'>): Finding {
  return {
    check: check.id,
    group: check.group,
    object: null,
    severity: 'unknown',
    message: '',
    observed: null,
    unit: null,
    warn: null,
    crit: null,
    worse: null,
    countedSince: null,
    detail: null,
    advice: null,
    mend: null,
  };
}
