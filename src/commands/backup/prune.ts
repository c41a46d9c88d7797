import { applyBackupPrune, type PrunedBackups } from '../../backup/prune/apply.ts';
import { gatherFacts } from '../../backup/prune/gather.ts';
import { planBackupPrune, refuseWrongClock, type BackupPrunePlan } from '../../backup/prune/plan.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { findTools } from '../../process/tools.ts';
import { visible } from '../../sql/quote.ts';
import { findStoreSettings } from '../../storage/open.ts';
import { defineCommand, type Result } from '../command.ts';
import { addWait } from '../options.ts';
import { storesOf } from '../stores.ts';

interface Options {
  store?: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    { command: 'dbops backup prune', about: 'what no rule of backup.retain keeps, for cron' },
    { command: 'dbops backup prune --dry-run', about: 'what would go, what stays, and why' },
  ],
  notes:
    'A backup stays while any rule of its kind keeps it, in the zone of defaults.timezone; and always: what a kept one builds\n' +
    'on, the newest good and the newest verified one of each kind and thing, what is held, what a restore reads. Nothing of a\n' +
    'kind goes when its newest attempt failed, a copy was lost or a store cannot be asked. WAL goes where retain.base is set,\n' +
    'up to what the oldest base backup needs. Backups of pgBackRest go where retain.pgbackrest is set, through its expire, by name\n' +
    'and none beside. Also sweeps what killed runs left a day ago. Never asks.',
  declare(cmd) {
    cmd.option('--store <name>', 'remove copies from this store only');
    addWait(cmd);
    cmd.option('--dry-run', 'print what would go, what stays and why, and change nothing');
  },
  async run(context): Promise<Result> {
    const { options, settings } = context;
    if (options.store !== undefined) findStoreSettings(settings.stores, options.store);
    const stores = storesOf(context);
    try {
      const job = {
        ...(await context.job(options.store ?? null)),
        openStore: stores.open,
        findTools: (names: string[]) => findTools(names, context.env['PATH'] ?? ''),
      };
      refuseWrongClock(job.db.server.now, new Date());
      const wish = { store: options.store };
      if (options.dryRun === true) {
        const plan = await planBackupPrune(job, await gatherFacts(job), wish);
        return { data: dataOf(plan), text: renderPlan(plan), warnings: plan.notes };
      }
      const done = await applyBackupPrune(job, wish);
      return { data: done, text: renderDone(done), warnings: done.notes };
    } finally {
      await stores.closeAll();
    }
  },
});

function dataOf(plan: BackupPrunePlan): unknown {
  return {
    dryRun: true,
    backups: plan.verdicts.map(({ item, why }) => {
      const target = plan.targets.find(({ id }) => id === item.id);
      const { id, kind, group, moment } = item;
      return {
        backup: id,
        kind,
        group,
        moment,
        goesFrom: target?.stores.map((store) => store.name) ?? [],
        why: target === undefined ? why : [target.why],
      };
    }),
    wal: { keptFrom: plan.cutoff?.startWal ?? null, why: plan.walWhy },
    remains: plan.remains.map(({ store, place }) => ({ store: store.name, place })),
    uploads: plan.uploads.map(({ store, upload }) => ({ store: store.name, key: upload.key })),
  };
}

async function renderPlan(plan: BackupPrunePlan): Promise<string> {
  const lines = plan.verdicts.map(({ item, why }) => ({
    item,
    why,
    target: plan.targets.find(({ id }) => id === item.id),
  }));
  const table =
    lines.length === 0
      ? 'there is no backup of this database or its cluster in the stores'
      : await renderTable(lines, [
          { title: 'backup', value: ({ item }) => visible(item.id) },
          { title: 'of', value: ({ item }) => visible(item.group) },
          { title: 'brings back', value: ({ item }) => item.moment.toISOString().slice(0, 19) },
          {
            title: 'goes from',
            value: ({ target }) => target?.stores.map((store) => store.name).join(', ') ?? 'stays',
          },
          { title: 'why', value: ({ why, target }) => target?.why ?? why.join('; ') },
        ]);
  const swept = [
    ...plan.remains.map(({ store, place }) => `goes from ${store.name}: ${place}, which has no manifest`),
    ...plan.uploads.map(({ store, upload }) => `is aborted in ${store.name}: the upload of ${upload.key}`),
  ];
  return [table, plan.walWhy, ...swept.map(visible)].join('\n');
}

async function renderDone(done: PrunedBackups): Promise<string> {
  const lines = [
    `${String(done.kept.length)} backups stay; "dbops backup prune --dry-run" says why`,
    `WAL: ${humanCount(done.wal.files)} files removed, ${humanBytes(done.wal.bytes)}; ${done.wal.why}`,
    `swept: ${String(done.remains.length)} folders without a manifest, ${String(done.uploads)} unfinished uploads`,
  ];
  if (done.removed.length === 0) return ['nothing is due', ...lines].join('\n');
  const table = await renderTable(done.removed, [
    { title: 'removed', value: (row) => visible(row.backup) },
    { title: 'kind', value: (row) => row.kind },
    { title: 'from', value: (row) => row.stores.join(', ') },
    { title: 'why', value: (row) => visible(row.why) },
  ]);
  return [table, ...lines].join('\n');
}
