import type { CronField, CronTimes } from '../../config/cron.ts';
import type { ScheduledJob } from '../../config/schedule.ts';
import { describeWork, runWords, type HostFacts } from '../host.ts';
import { clockTime } from '../times.ts';

/** A file of a scheduler. */
export interface UnitFile {
  path: string;
  content: string;
}

const folder = '/etc/systemd/system';

/** A service and a timer for each job. Pure. */
export function renderSystemd(jobs: ScheduledJob[], host: HostFacts): UnitFile[] {
  return jobs.flatMap((job) => [
    { path: `${folder}/dbops-${job.name}.service`, content: service(job, host) },
    { path: `${folder}/dbops-${job.name}.timer`, content: timer(job) },
  ]);
}

function service(job: ScheduledJob, { node, entry, path, cwd, user, config }: HostFacts): string {
  const words = [node, entry, ...runWords(job, config)].map(unitWord).join(' ');
  return [
    '[Unit]',
    // A backslash at the end of a line would take the next one along.
    `Description=dbops ${job.name}: ${specifiers(describeWork(job)).replace(/\\+$/, '')}`,
    'Wants=network-online.target',
    'After=network-online.target',
    '',
    '[Service]',
    'Type=oneshot',
    `User=${user}`,
    `WorkingDirectory=${specifiers(cwd)}`,
    `Environment=${quoted(specifiers(`PATH=${path}`))}`,
    '# DATABASE_URL and other secrets; the file belongs to root, with mode 0600.',
    'EnvironmentFile=-/etc/dbops/environment',
    `ExecStart=${words}`,
    '# dbops hands a signal on to the job, and waits for it.',
    'KillMode=mixed',
    '',
  ].join('\n');
}

function timer(job: ScheduledJob): string {
  return [
    '[Unit]',
    `Description=dbops ${job.name}`,
    '',
    '[Timer]',
    ...calendarLines(job.times, job.timezone).map((line) => `OnCalendar=${line}`),
    '# What was missed while the host was off is made up for.',
    'Persistent=true',
    'AccuracySec=1s',
    '',
    '[Install]',
    'WantedBy=timers.target',
    '',
  ].join('\n');
}

const dayNames = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/**
 * A cron line as calendar events of systemd. A day of month and a day of week together mean either in cron and both in
 * systemd, so these are two lines. Pure.
 */
export function calendarLines(
  { minutes, hours, days, months, weekdays }: CronTimes,
  timezone: string,
): string[] {
  const time = `${list(hours)}:${list(minutes)}:00`;
  const onDays = `*-${list(months)}-${list(days)}`;
  const onWeekdays = weekdays.values.map((day) => dayNames[day] ?? '').join(',');
  const lines =
    weekdays.isAny || days.isAny
      ? [`${weekdays.isAny ? '' : `${onWeekdays} `}${onDays} ${time}`]
      : [`${onDays} ${time}`, `${onWeekdays} *-${list(months)}-* ${time}`];
  return lines.map((line) => `${line} ${timezone}`);
}

function list({ values, isAny }: CronField): string {
  return isAny ? '*' : values.map((value) => clockTime(value).slice(3)).join(',');
}

/** systemd fills in what follows a %. */
function specifiers(text: string): string {
  return text.replaceAll('%', '%%');
}

/** A word of a command, in which a $ begins a variable. */
function unitWord(text: string): string {
  return quoted(specifiers(text).replaceAll('$', '$$$$'));
}

function quoted(text: string): string {
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
  return /^[\w@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped}"`;
}
