import { applyPrune, type Pruned } from '../../archive/prune/prune.ts';
import { planPrune, type PruneOptions, type PrunePlan } from '../../archive/prune/plan.ts';
import { splitTable } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import { renderTable } from '../../output/table.ts';
import { findConfigured } from '../../partition/model/select.ts';
import { renderScript } from '../../plan/render.ts';
import { visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { addDryRun, addWait, addYes, countOption } from '../options.ts';
import { storesOf } from '../stores.ts';

interface Options {
  archive?: string[];
  confirm?: string;
  max: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    { command: 'dbops archive prune', about: 'what is past its retention.cold, for cron' },
    { command: 'dbops archive prune --dry-run', about: 'what would be removed, and why' },
  ],
  notes:
    'Removes archives whose rows are older than "retention.cold" allows, and whose partition was dropped; never one that is\n' +
    'held. Also sweeps what killed runs left a day ago. What --archive names is asked about, and needs --confirm when no\n' +
    'policy makes it due. There is no way back.',
  declare(cmd) {
    cmd.argument('[table...]', 'archives of these tables only');
    cmd.option('--archive <id...>', 'these archives instead of those that are due');
    cmd.option('--confirm <id>', 'the id of that archive once more');
    cmd.option('--max <count>', 'at most so many of one table', '3');
    addYes(cmd);
    addWait(cmd);
    addDryRun(cmd);
  },
  async run(context): Promise<Result> {
    const { args, options, settings } = context;
    const wish: PruneOptions = {
      tables: args.map(splitTable),
      ids: options.archive ?? [],
      confirm: options.confirm,
      max: countOption('--max', options.max),
    };
    if (wish.ids.length > 0 && args.length > 0)
      throw new DbopsError('usage', 'name tables, or archives with --archive, not both');
    for (const name of args) findConfigured(settings, name);
    const stores = storesOf(context);
    try {
      const job = {
        ...(await context.job(args.length === 0 ? null : args.join(' '))),
        openStore: stores.open,
      };
      if (options.dryRun === true || wish.ids.length > 0) {
        const plan = await planPrune(job, wish);
        const changes = [...plan.before, ...plan.targets.map((target) => target.change)];
        if (options.dryRun === true) return { data: dataOf(plan), text: textOf(plan), warnings: plan.notes };
        await job.consent(changes, `remove ${String(plan.targets.length)} archives for good`);
      }
      const done = await applyPrune(job, wish);
      return { data: done, text: render(done), warnings: done.notes };
    } finally {
      await stores.closeAll();
    }
  },
});

function dataOf(plan: PrunePlan): unknown {
  return {
    dryRun: true,
    archives: plan.targets.map(({ row, reason }) => ({ archive: row.id, stores: row.stores, reason })),
    remains: plan.sweep.remains.map(({ store, place }) => ({ store: store.name, place })),
    uploads: plan.sweep.uploads.map(({ store, upload }) => ({ store: store.name, key: upload.key })),
    changes: [...plan.before, ...plan.targets.map((target) => target.change)],
  };
}

/** What happens in the stores stands as comments behind what the ledger is told. */
function textOf(plan: PrunePlan): string {
  const lines = [
    ...plan.targets.flatMap(({ row }) =>
      row.stores.map((store) => `-- then delete in ${store}: ${row.place}, manifest.json first`),
    ),
    ...plan.sweep.remains.map(
      ({ store, place }) => `-- sweep in ${store.name}: ${place}, which has no manifest`,
    ),
    ...plan.sweep.uploads.map(
      ({ store, upload }) => `-- abort in ${store.name}: the upload of ${upload.key}`,
    ),
  ];
  const script = renderScript(
    [...plan.before, ...plan.targets.map((target) => target.change)],
    'archive prune',
  );
  return `${script}${lines.map(visible).join('\n')}\n`;
}

async function render(done: Pruned): Promise<string> {
  const swept = `swept: ${String(done.remains.length)} folders without a manifest, ${String(done.uploads)} unfinished uploads`;
  if (done.removed.length === 0) return done.remains.length + done.uploads === 0 ? 'nothing is due' : swept;
  const table = await renderTable(done.removed, [
    { title: 'removed', value: (row) => visible(row.archive) },
    { title: 'partition', value: (row) => row.partition },
    { title: 'from', value: (row) => row.stores.join(', ') },
    { title: 'why', value: (row) => visible(row.reason) },
  ]);
  return `${table}\n${swept}`;
}
