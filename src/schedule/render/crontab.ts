import type { ScheduledJob } from '../../config/schedule.ts';
import { DbopsError } from '../../errors.ts';
import { shellWord } from '../../output/shell-word.ts';
import { describeWork, runWords, type HostFacts } from '../host.ts';
import { convertZone } from './convert-zone.ts';

/**
 * Which cron reads the crontab. cronie (Red Hat, Arch, SUSE) obeys CRON_TZ for the lines behind it; Vixie's cron (Debian,
 * Ubuntu), busybox and others take every time in the zone of the host.
 */
export const cronMakes = ['vixie', 'cronie'] as const;
export type CronMake = (typeof cronMakes)[number];

const begin = '# BEGIN dbops schedule: written by "dbops schedule install"; what is changed here is lost';
const end = '# END dbops schedule';

/** Vixie's cron refuses the whole crontab for a longer command. */
const longestCommand = 990;

/**
 * The lines of all jobs between their markers. Throws refused, with all of them at once, where the zones of jobs cannot be
 * had from that cron: a job at the wrong hour is worse than none. Pure.
 */
export function renderCrontab(jobs: ScheduledJob[], host: HostFacts, make: CronMake, now: Date): string {
  const zones =
    make === 'cronie'
      ? ['# CRON_TZ holds for every line behind it: put lines of your own above this block.']
      : [];
  const times =
    make === 'cronie'
      ? jobs.map(({ times, timezone }) => [`CRON_TZ=${timezone}`, times.text])
      : inZoneOf(host, jobs, now).map((cron) => [cron]);
  const lines = jobs.flatMap((job, index) => [
    `# ${job.name}: ${job.cron} ${job.timezone}: ${describeWork(job)}`,
    `${(times[index] ?? []).join('\n')} ${command(job, host)}`,
  ]);
  return [begin, ...zones, ...lines, end, ''].join('\n');
}

/** The times of all jobs as a cron reads them that knows only the zone of its host. */
function inZoneOf({ timezone }: HostFacts, jobs: ScheduledJob[], now: Date): string[] {
  const problems: string[] = [];
  const times = jobs.map((job) => {
    const converted = convertZone(job, timezone, now);
    if ('cron' in converted) return converted.cron;
    problems.push(`job "${job.name}": ${converted.problem}`);
    return '';
  });
  if (problems.length === 0) return times;
  throw new DbopsError(
    'refused',
    `${problems.length === 1 ? 'a job' : `${String(problems.length)} jobs`} cannot be written for a cron that works in ${timezone}`,
    {
      detail: problems.join('\n'),
      hint: `Give --cron cronie where cron obeys CRON_TZ (not on Debian and Ubuntu), use --format systemd or k8s, or give the jobs the timezone ${timezone}.`,
    },
  );
}

/** No variable of the crontab is set or counted on: those would hold for the lines of others as well. */
function command(job: ScheduledJob, { node, entry, path, cwd, config }: HostFacts): string {
  const words = [node, entry, ...runWords(job, config)].map(shellWord).join(' ');
  // cron makes a line end of %.
  const line = `cd ${shellWord(cwd)} && PATH=${shellWord(path)} ${words}`.replaceAll('%', '\\%');
  if (/[\n\r]/.test(line) || line.length > longestCommand)
    throw new DbopsError('refused', `the command of job "${job.name}" is no line that cron takes`, {
      detail: line,
      hint: `cron takes ${String(longestCommand)} characters in one line; a shorter PATH helps.`,
    });
  return line;
}

/** A crontab in parts: what others wrote, and our block where there is one. */
interface Split {
  before: string;
  block: string;
  after: string;
}

/** Throws refused when the markers do not fit together: somebody's lines may stand between them. Pure. */
function split(crontab: string): Split {
  const lines = crontab.split(/(?<=\n)/);
  const at = (marker: string) => lines.flatMap((line, index) => (line.trimEnd() === marker ? [index] : []));
  const [begins, ends] = [at(begin), at(end)];
  const [first = -1] = begins;
  const [last = -1] = ends;
  if (begins.length === 0 && ends.length === 0) return { before: crontab, block: '', after: '' };
  if (begins.length !== 1 || ends.length !== 1 || last < first)
    throw new DbopsError('refused', 'the markers of dbops in the crontab do not fit together', {
      detail: `${begin}\n${end}`,
      hint: 'Correct it with "crontab -e": the two lines stand there once each, or not at all.',
    });
  return {
    before: lines.slice(0, first).join(''),
    block: lines.slice(first, last + 1).join(''),
    after: lines.slice(last + 1).join(''),
  };
}

/** The crontab with our block at its end, since CRON_TZ holds for what follows; the lines of others stay as they are. Pure. */
export function withBlock(crontab: string, block: string): string {
  const { before, after } = split(crontab);
  const others = before + after;
  return others === '' || others.endsWith('\n') ? others + block : `${others}\n${block}`;
}

/** The crontab without our block. Pure. */
export function withoutBlock(crontab: string): string {
  const { before, after } = split(crontab);
  return before + after;
}

/** The difference of two crontabs, line by line: "-" goes, "+" comes. Pure. */
export function crontabDifference(before: string, after: string): string[] {
  const old = split(before).block.split('\n').filter(Boolean);
  const fresh = split(after).block.split('\n').filter(Boolean);
  return [
    ...old.filter((line) => !fresh.includes(line)).map((line) => `- ${line}`),
    ...fresh.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
  ];
}
