import { formatDuration } from '../../config/duration.ts';
import { renderScript } from '../../plan/render.ts';
import { displayName, relation, visible } from '../../sql/quote.ts';
import type { RunOptions, RunPlan } from './plan.ts';

/**
 * The plan of a run for people and programs. What the server does is a psql script; what happens in the stores cannot be
 * one and stands between it as comments, in its place in the order.
 */
export function describePlan(plan: RunPlan, options: RunOptions): { data: unknown; text: string } {
  const changes = plan.archives.flatMap((item) => item.detach);
  return {
    data: {
      dryRun: true,
      archives: plan.archives.map((item) => ({
        table: displayName(item.parent),
        partition: item.label,
        bounds: item.partition.boundText,
        stores: item.set.settings.archive.copies,
        until: options.until,
        reuses: item.made?.id ?? null,
      })),
      proofs: plan.proofs.map((item) => ({ partition: displayName(item.ledger), archive: item.archive.id })),
      unfinished: plan.unfinished.map((row) => row.id),
      copies: plan.copies.map((item) => ({ archive: item.archive.id, to: item.missing })),
      drops: plan.drops.map((item) => ({
        partition: displayName(item.ledger),
        archive: item.archive.id,
        dropAfter: item.dropAfter,
      })),
      changes: [...plan.before, ...plan.leftovers, ...changes],
    },
    text: [
      renderScript([...plan.before, ...plan.leftovers], `archive run: ${summary(plan)}`).trimEnd(),
      ...plan.unfinished.map(
        (row) =>
          `\n-- an earlier run was interrupted while it made archive ${row.id}: it is taken when its manifest is there, else what was written of it is removed`,
      ),
      ...plan.copies.map(
        (item) =>
          `\n-- copy archive ${item.archive.id} from ${item.archive.stores.join(', ')} to ${item.missing.join(', ')}, read it back, write manifest.json last`,
      ),
      ...plan.archives.flatMap((item) => archiveLines(item, options)),
      ...plan.proofs.map(
        (item) =>
          `\n-- prove that ${displayName(item.ledger)} is what archive ${item.archive.id} holds (in one transaction, under SHARE)`,
      ),
      ...plan.drops.map(
        (item) =>
          `\n-- drop ${displayName(item.ledger)}: its quarantine ended at ${item.dropAfter.toISOString()}; archive ${item.archive.id} is looked for in its stores, and the rows are proven once more in the transaction that drops`,
      ),
      '',
    ].join('\n'),
  };
}

function summary(plan: RunPlan): string {
  const { archives, proofs, drops } = plan;
  return `${String(archives.length)} to archive, ${String(proofs.length)} to prove, ${String(drops.length)} to drop`;
}

function archiveLines(item: RunPlan['archives'][number], options: RunOptions): string[] {
  const { archive, quarantine } = item.set.settings;
  const lines = [
    '',
    `-- archive ${item.label} ${visible(item.partition.boundText)}`,
    item.made === undefined
      ? `-- copy (select ... from only ${visible(relation(item.partition))}) to stdout, by ranges of ctid in one snapshot, through zstd to ${archive.copies.join(', ')}`
      : `-- archive ${item.made.id} of an earlier run is taken, when it is whole and no row was written since`,
    '-- read every part back, compare its sha256, decompress it, count its rows; then write manifest.json',
  ];
  if (options.until === 'verified') return lines;
  return [
    ...lines,
    renderScript(item.detach, `detach ${item.label}`).trimEnd(),
    `-- prove, under SHARE, that it holds the archived rows; drop it after ${formatDuration(quarantine)}`,
  ];
}
