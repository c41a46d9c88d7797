import { DbopsError } from '../../errors.ts';
import { renderTable } from '../../output/table.ts';
import { paint } from '../../output/style.ts';
import { chooseJobs, listSchedule, readRuns, type ScheduleLine } from '../../schedule/list.ts';
import { visible } from '../../sql/quote.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { commandWarnings } from './shared.ts';

export const command = defineCommand({
  changes: false,
  examples: [
    { command: 'dbops schedule list', about: 'all jobs, when they are due, and how they last ended' },
    { command: 'dbops schedule list --json', about: 'with the next three times of each' },
  ],
  notes:
    'Times are UTC. Without the database the next runs are shown all the same. A day that has no 02:30, or has it twice,\n' +
    'is named below the table.',
  declare() {
    // No flags of its own.
  },
  async run(context): Promise<Result> {
    const jobs = chooseJobs(context.settings.schedule, []);
    const { runs, now, warnings } = await historyOf(context);
    const lines = listSchedule(jobs, runs, now);
    return { data: { jobs: lines }, text: render(lines), warnings: [...warnings, ...commandWarnings(jobs)] };
  },
});

async function historyOf({ connect, now, settings }: CommandContext<unknown>) {
  try {
    const db = await connect();
    return { now: now(db), runs: await readRuns(db, settings.stateSchema, settings.schedule), warnings: [] };
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    return { now: new Date(), runs: undefined, warnings: [`the last runs are unknown: ${error.message}`] };
  }
}

async function render(lines: ScheduleLine[]): Promise<string> {
  const table = await renderTable(lines, [
    { title: 'job', value: (line) => line.job },
    { title: 'what', value: (line) => line.what },
    { title: 'cron', value: (line) => visible(line.cron) },
    { title: 'zone', value: (line) => line.timezone },
    { title: 'next', value: (line) => minute(line.next[0] ?? null) },
    { title: 'last', value: (line) => minute(line.lastAt) },
    { title: 'ended', value: (line) => (line.last === 'failed' ? paint('red', line.last) : line.last) },
    { title: 'why', value: (line) => visible((line.lastMessage ?? '').split('\n')[0] ?? '') },
  ]);
  return [table, ...lines.flatMap(({ job, notes }) => notes.map((note) => `${job}: ${note}`))].join('\n');
}

function minute(time: Date | null): string {
  return time === null ? '' : `${time.toISOString().slice(0, 16)}Z`;
}
