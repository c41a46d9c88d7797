import { DbopsError } from '../../errors.ts';
import { readPgbackrestInfo } from './info.ts';
import { runPgbackrest } from './run.ts';
import type { PgbackrestSite } from './site.ts';

/**
 * Removes backups from a repository of pgBackRest by their labels, and no other: its own expire takes those with it that
 * build on a removed one. A label that is gone already is no error. Returns what was removed. Throws refused where a
 * backup that is to stay builds on one of them, and where pgBackRest itself refuses: it keeps the last full one.
 */
export async function expirePgbackrest(
  site: PgbackrestSite,
  repository: number,
  labels: string[],
  signal: AbortSignal,
): Promise<string[]> {
  const info = await readPgbackrestInfo(site, signal);
  const present = info.backup.filter((item) => item.database['repo-key'] === repository);
  const going = new Set(labels);
  for (const item of present) {
    const base = item.reference?.find((label) => going.has(label));
    if (base === undefined || going.has(item.label)) continue;
    throw new DbopsError('refused', `${base} is kept in pgBackRest: ${item.label} builds on it`, {
      hint: 'It goes when nothing that is kept builds on it any more.',
    });
  }
  const removed: string[] = [];
  // Newest first: what builds on others goes before them.
  const inOrder = present.filter((item) => going.has(item.label)).reverse();
  for (const { label } of inOrder) {
    const options = [`--repo=${String(repository)}`, `--set=${label}`];
    await runPgbackrest(site, 'expire', options, signal);
    removed.push(label);
  }
  return removed;
}
