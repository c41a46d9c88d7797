import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import { nearest } from '../../config/nearest.ts';
import type { ScheduledJob } from '../../config/schedule.ts';
import type { Settings } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import { ownProgram } from '../../process/own.ts';
import { chooseJobs } from '../../schedule/list.ts';
import { environmentWarnings, zoneWarnings } from '../../schedule/environment.ts';
import type { HostFacts } from '../../schedule/host.ts';
import { cronMakes, renderCrontab, type CronMake } from '../../schedule/render/crontab.ts';
import type { CommandContext } from '../command.ts';
import { commands } from '../index.ts';

export interface CronOptions {
  cron: CronMake;
}

export function addCron(cmd: Command): void {
  cmd.addOption(
    new Option(
      '--cron <make>',
      'cronie obeys the time zone of a job; others, such as that of Debian, that of the host',
    )
      .choices(cronMakes)
      .default('vixie'),
  );
}

/** The jobs that were named, or all; each must be a command that there is. Throws usage. */
export function scheduledJobs({ settings }: { settings: Settings }, names: string[]): ScheduledJob[] {
  const jobs = chooseJobs(settings.schedule, names);
  for (const { name, work } of jobs) if (work.kind === 'command') checkCommand(name, work.words);
  return jobs;
}

/** Jobs that would fail each time, for those who only look. */
export function commandWarnings(jobs: ScheduledJob[]): string[] {
  return jobs.flatMap(({ name, work }) => {
    try {
      if (work.kind === 'command') checkCommand(name, work.words);
      return [];
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      return [`${error.message}; ${error.hint ?? ''}`];
    }
  });
}

function checkCommand(job: string, [first = '', second = '']: string[]): void {
  const isKnown = commands.some(({ noun, verb, isDefault }) =>
    noun === null ? verb === first : noun === first && (verb === second || isDefault === true),
  );
  if (isKnown) return;
  const names = commands.map(({ noun, verb }) => (noun === null ? verb : `${noun} ${verb}`));
  const guess = nearest(`${first} ${second}`.trim(), names);
  throw new DbopsError('usage', `job "${job}" is no command of dbops: ${first} ${second}`.trim(), {
    hint: guess === undefined ? '"dbops --help" shows what there is.' : `Did you mean ${guess}?`,
  });
}

/** What a scheduler of this host has to know. */
export function hostFacts({ settings, cwd }: Pick<CommandContext<unknown>, 'settings' | 'cwd'>): HostFacts {
  const [only, ...others] = settings.files;
  return {
    ...ownProgram(),
    cwd,
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    // Where several files apply, they are found from the same directory again.
    config: only !== undefined && others.length === 0 ? resolve(cwd, only.path) : undefined,
  };
}

/** Throws usage and refused. */
export function crontabOf(context: CommandContext<CronOptions>, names: string[]): string {
  const jobs = scheduledJobs(context, names);
  return renderCrontab(jobs, hostFacts(context), context.options.cron, new Date());
}

/** What a scheduler of this host will not find as this shell has it. */
export async function shellWarnings(
  context: Pick<CommandContext<unknown>, 'settings' | 'cwd' | 'env'>,
  format: 'crontab' | 'systemd',
  make: CronMake,
): Promise<string[]> {
  const { settings, env } = context;
  if (format === 'systemd') return environmentWarnings(settings, env, 'systemd');
  // With CRON_TZ, or where no zone is asked for, TZ makes no difference.
  const zones = make === 'vixie' ? await zoneWarnings(hostFacts(context).timezone, env) : [];
  return [...environmentWarnings(settings, env, 'cron'), ...zones];
}
