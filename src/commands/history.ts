import { humanSeconds } from '../output/human.ts';
import { renderTable } from '../output/table.ts';
import { findStateVersion, listRuns, type RunRow } from '../sql/state.ts';
import { visible } from '../sql/quote.ts';
import { defineCommand, type Result } from './command.ts';
import { countOption } from './options.ts';

interface Options {
  limit: string;
  command?: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops history', about: 'the last 20 runs, newest first' },
    { command: 'dbops history --limit 100 --command partition', about: 'more, of one kind' },
    { command: 'dbops history --json', about: 'with the plan of each run' },
  ],
  notes: 'Runs that change something are recorded, by whomever and from wherever they were started.',
  declare(cmd) {
    cmd.option('--limit <n>', 'how many runs', '20');
    cmd.option('--command <prefix>', 'only commands that begin like this, e.g. "partition ensure"');
  },
  async run({ options, settings, connect }): Promise<Result> {
    const limit = countOption('--limit', options.limit);
    const db = await connect();
    if ((await findStateVersion(db, settings.stateSchema)) === 0) {
      return {
        data: { runs: [] },
        text:
          `nothing was recorded in database "${visible(db.server.database)}" yet: ` +
          `the schema "${visible(settings.stateSchema)}" is made by the first command that changes something`,
      };
    }
    const runs = await listRuns(db, settings.stateSchema, limit, options.command ?? null);
    return { data: { runs }, text: runs.length === 0 ? 'no such run is recorded' : render(runs) };
  },
});

function render(runs: RunRow[]): Promise<string> {
  return renderTable(runs, [
    { title: 'started', value: (run) => run.startedAt.toISOString().slice(0, 19) + 'Z' },
    { title: 'command', value: (run) => visible([run.command, run.target ?? ''].join(' ').trim()) },
    { title: 'outcome', value: (run) => run.outcome },
    { title: 'changes', value: (run) => String(run.changes), align: 'right' },
    { title: 'took', value: (run) => (run.durationMs === null ? '' : humanSeconds(run.durationMs / 1000)) },
    { title: 'by', value: (run) => visible(`${run.osUser}@${run.host} as ${run.databaseUser}`) },
    { title: 'message', value: (run) => visible((run.message ?? '').split('\n')[0] ?? '') },
  ]);
}
