import { humanCount } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { listRowsJobs, type JobLine } from '../../rows/jobs.ts';
import { visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';

export const command = defineCommand({
  changes: false,
  examples: [{ command: 'dbops rows jobs', about: 'jobs that were begun, and those that are configured' }],
  notes: 'What has ended is in "dbops history --command rows".',
  declare() {
    // No flags of its own.
  },
  async run({ settings, connect }): Promise<Result> {
    const lines = await listRowsJobs({ db: await connect(), settings });
    return {
      data: { jobs: lines },
      text: lines.length === 0 ? 'no job was begun, and none is configured' : render(lines),
    };
  },
});

function render(lines: JobLine[]): Promise<string> {
  return renderTable(lines, [
    { title: 'job', value: (line) => visible(line.job) },
    { title: 'what', value: (line) => visible(`${line.verb} ${line.table}`) },
    { title: 'state', value: (line) => line.state },
    {
      title: 'rows',
      value: (line) =>
        line.rows === null ? '' : `${humanCount(line.rows)} of about ${humanCount(line.expectedRows ?? 0)}`,
      align: 'right',
    },
    { title: 'older than', value: (line) => line.cutoff ?? '' },
    { title: 'last batch', value: (line) => line.changedAt?.toISOString() ?? '' },
    { title: 'why', value: (line) => visible(line.reason ?? '') },
  ]);
}
