import { applyRecording, planRecording } from '../../health/capacity/record.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun } from '../options.ts';

export const command = defineCommand({
  changes: true,
  examples: [
    { command: 'dbops capacity record', about: 'the figures of today, for cron' },
    { command: 'dbops capacity record --dry-run', about: 'what would be recorded, as a psql script' },
  ],
  notes:
    'Sizes of the database, of its 500 largest tables and of the disk, sequences, transaction ids, and counters that health compares; kept for 400 days.',
  declare: addDryRun,
  async run({ options, job, dryRun }): Promise<Result> {
    const context = await job(null);
    const recording = await planRecording(context);
    const { samples, unseen, changes } = recording;
    if (options.dryRun === true) return dryRun(changes, 'record the samples of today', unseen);
    await applyRecording(context, recording);
    return {
      data: { takenAt: context.now, samples },
      text: `${String(samples.length)} samples of ${context.now.toISOString().slice(0, 10)} are recorded`,
      warnings: unseen,
    };
  },
});
