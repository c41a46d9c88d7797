import type { ScheduledJob } from '../../config/schedule.ts';
import { DbopsError } from '../../errors.ts';
import { humanSeconds } from '../../output/human.ts';
import { shellWord } from '../../output/shell-word.ts';
import { sqlStateOf } from '../../pg/sqlstate.ts';
import type { ScheduledRunsRow } from '../../sql/schedule.ts';
import { allWell, type Check, type CheckContext, type Look, type Observation } from '../check.ts';
import { stateGrant } from '../state-grant.ts';

const asks = 'the runs of "schedule run" in the history, for each job under "schedule:" in the configuration';
const none = 'no job is scheduled in the configuration';

type Judge = (job: ScheduledJob, run: ScheduledRunsRow | undefined, now: Date) => Promise<Observation>;

export const jobs: Check[] = [
  {
    id: 'jobs.late',
    group: 'jobs',
    answers: 'whether each scheduled job has succeeded since it was last due',
    why: 'A cron that does not run, a host that is gone or a job that fails every night says nothing by itself.',
    advice: 'Look whether cron, the timer or the CronJob is there and runs, and at "dbops schedule list".',
    thresholds: { unit: 'seconds', worse: 'above', warn: 3600, crit: 86_400 },
    source:
      'warn: an hour of grace for the job itself; crit: a day without a backup or a partition is noticed.',
    profiles: ['daily', 'weekly', 'monthly'],
    asks,
    look: (context) => lookAtJobs(context, late),
  },
  {
    id: 'jobs.failed',
    group: 'jobs',
    answers: 'whether the last run of each scheduled job ended well',
    why: 'A job that failed has left undone what the others count on.',
    advice: 'Read why in "dbops history", mend it, and run the job again.',
    profiles: ['daily', 'weekly', 'monthly', 'deploy'],
    asks,
    look: (context) => lookAtJobs(context, failed),
  },
];

async function lookAtJobs({ db, settings, now }: CheckContext, judge: Judge): Promise<Look> {
  if (settings.schedule.length === 0) return allWell(none);
  // Loaded when there is something to look at: times of cron bring a library along.
  const { readRuns } = await import('../../schedule/list.ts');
  let runs: Map<string, ScheduledRunsRow>;
  try {
    runs = await readRuns(db, settings.stateSchema, settings.schedule);
  } catch (error) {
    if (!(error instanceof DbopsError) || sqlStateOf(error) !== '42501') throw error;
    return { observations: [unreadable(db, settings)], summary: '' };
  }
  const observations = await Promise.all(settings.schedule.map((job) => judge(job, runs.get(job.name), now)));
  const count = settings.schedule.length;
  return { observations, summary: `${String(count)} ${count === 1 ? 'job' : 'jobs'}, all well` };
}

function unreadable(db: CheckContext['db'], settings: CheckContext['settings']): Observation {
  return {
    object: null,
    value: null,
    severity: 'unknown',
    message: `role "${db.server.user}" may not read the history in schema "${settings.stateSchema}"`,
    advice: 'Give the role what it takes, as the owner of the schema.',
    mend: stateGrant(db, settings),
  };
}

async function late(job: ScheduledJob, run: ScheduledRunsRow | undefined, now: Date): Promise<Observation> {
  const { latenessOf } = await import('../../schedule/lateness.ts');
  const { nextTime } = await import('../../schedule/times.ts');
  const base = { object: job.name, mend: `dbops schedule run ${shellWord(job.name)}` };
  if (run === undefined) {
    const next = nextTime(job, now).toISOString();
    return { ...base, value: null, severity: 'warn', message: `has never run; it is due next at ${next}` };
  }
  const { missingSince, lateSeconds, isRunning } = latenessOf(job, run, now);
  const detail =
    run.succeededAt === null
      ? 'it never ended well'
      : `it last ended well at ${run.succeededAt.toISOString()}`;
  if (missingSince === null)
    return { ...base, value: 0, message: isRunning ? 'is running' : 'is in time', detail };
  const message = `has not ended well since it was due at ${missingSince.toISOString()}, ${humanSeconds(lateSeconds)} ago`;
  return { ...base, value: lateSeconds, message, detail };
}

const bad = new Set(['failed', 'interrupted', 'partly done']);

function failed(job: ScheduledJob, run: ScheduledRunsRow | undefined): Promise<Observation> {
  const base = { object: job.name, value: null, mend: `dbops schedule run ${shellWord(job.name)}` };
  if (run === undefined || !bad.has(run.lastOutcome))
    // That it never ran, the other check says.
    return Promise.resolve({ ...base, severity: 'ok', message: run?.lastOutcome ?? 'has never run' });
  return Promise.resolve({
    ...base,
    severity: run.lastOutcome === 'partly done' ? 'warn' : 'crit',
    message: `its run of ${run.lastAt.toISOString()} ${run.lastOutcome === 'partly done' ? 'left work undone' : `has ${run.lastOutcome === 'failed' ? 'failed' : 'been interrupted'}`}`,
    detail: run.lastMessage ?? undefined,
  });
}
