import { parseCron, type CronTimes } from './cron.ts';
import { durationMs } from './duration.ts';
import type { Path, Problem } from './issues.ts';
import type { LoadedFile } from './load.ts';
import type { Picker } from './picker.ts';
import { scheduleJob, type FileScheduleJob } from './schema-schedule.ts';
import { splitWords } from './words.ts';

/** What runs when. */
export interface ScheduledJob {
  name: string;
  /** As written. */
  cron: string;
  times: CronTimes;
  timezone: string;
  /** Words of a command of dbops, or one SQL statement. */
  work: { kind: 'command'; words: string[] } | { kind: 'sql'; sql: string };
  timeLimitMs: number | undefined;
  /** URLs hold secrets: neither logged nor shown. */
  webhook: string | undefined;
  healthcheck: string | undefined;
}

/** The jobs of the nearest file that has any. */
export function scheduleSettings(picker: Picker, files: LoadedFile[], timezone: string): ScheduledJob[] {
  const file = files.find((item) => item.settings.schedule !== undefined);
  return (file?.settings.schedule ?? []).map((written): ScheduledJob => {
    const times = parseCron(written.cron);
    if (typeof times === 'string') throw new Error(`a cron line that was checked cannot be read: ${times}`);
    picker.pick(`schedule.${written.name}`, [
      {
        value: `${written.cron} ${written.run ?? written.sql ?? ''}`,
        source: `${file?.path ?? ''} (${file?.kind ?? ''} file)`,
      },
    ]);
    return {
      name: written.name,
      cron: written.cron,
      times,
      timezone: written.timezone ?? timezone,
      work:
        written.sql === undefined
          ? { kind: 'command', words: splitWords(written.run ?? '') ?? [] }
          : { kind: 'sql', sql: written.sql.trim().replace(/;$/, '') },
      timeLimitMs: written.timeLimit === undefined ? undefined : durationMs(written.timeLimit),
      webhook: written.notify?.webhook,
      healthcheck: written.notify?.healthcheck,
    };
  });
}

/**
 * What the schema cannot see of the jobs, as they were read from the file: also of those beside jobs that the schema
 * refuses, so that all is said at once. Pure.
 */
export function scheduleProblems(written: unknown): Problem[] {
  if (!Array.isArray(written)) return [];
  const jobs: unknown[] = written;
  const names = jobs.map((job) => (job as { name?: unknown } | null)?.name);
  return jobs.flatMap((job, index) => {
    const path: Path = ['schedule', index];
    const problems = inWritten(job).map(([key, message]) => ({
      path: key === undefined ? path : [...path, ...key.split('.')],
      message,
    }));
    const name = names[index];
    const first = names.indexOf(name);
    if (typeof name === 'string' && first < index)
      problems.push({
        path: [...path, 'name'],
        message: `"${name}" stands in schedule[${String(first)}] already`,
      });
    return problems;
  });
}

type JobProblem = [key: string | undefined, message: string];

/** Of a job that the schema refuses, the times and the command can be read all the same. */
function inWritten(job: unknown): JobProblem[] {
  const read = scheduleJob.safeParse(job);
  if (read.success) return inJob(read.data);
  const { cron, run } = (job ?? {}) as Record<string, unknown>;
  return [
    ...(typeof cron === 'string' ? inTimes(cron) : []),
    ...(typeof run === 'string' && run !== '' ? inCommand(run) : []),
  ];
}

function inTimes(cron: string): JobProblem[] {
  const times = parseCron(cron);
  return typeof times === 'string' ? [['cron', times]] : [];
}

function inJob(job: FileScheduleJob): JobProblem[] {
  const problems = inTimes(job.cron);
  if ((job.run === undefined) === (job.sql === undefined))
    problems.push([undefined, 'must say what is run: either run or sql']);
  if (job.run !== undefined) problems.push(...inCommand(job.run));
  if (job.sql !== undefined && hasSeveralStatements(job.sql))
    problems.push(['sql', 'must be one statement; make a job of each']);
  if (job.timeLimit !== undefined && durationMs(job.timeLimit) < 1000)
    problems.push(['timeLimit', 'must be at least 1 s']);
  for (const kind of ['webhook', 'healthcheck'] as const) {
    const url = job.notify?.[kind];
    // The URL itself may hold a secret, so it is not repeated.
    if (url !== undefined && !isWebUrl(url))
      problems.push([`notify.${kind}`, 'must be a URL that begins with https:// or http://']);
  }
  return problems;
}

function inCommand(run: string): JobProblem[] {
  const words = splitWords(run);
  if (words === undefined) return [['run', 'has a quote that is not closed']];
  const [first, second] = words;
  if (first === undefined) return [['run', 'must not be empty']];
  if (first === 'dbops') return [['run', 'goes without the word dbops']];
  if (first === 'schedule' && second === 'run') return [['run', 'must not be a schedule itself']];
  const foreign = words.find((word) => /^([|&;<>]+|\d?>.*)$/.test(word));
  if (foreign !== undefined)
    return [['run', `is no shell line: ${JSON.stringify(foreign)} would be an argument of the command`]];
  return [];
}

/** Whether something follows a semicolon that is outside of quotes and comments. Pure. */
function hasSeveralStatements(sql: string): boolean {
  const bare = sql.replaceAll(
    /--[^\n]*|\/\*[^]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[^]*?\$\1\$/g,
    ' ',
  );
  return /;\s*\S/.test(bare);
}

function isWebUrl(text: string): boolean {
  return URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol);
}
