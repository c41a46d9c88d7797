import { createHash } from 'node:crypto';
import { chooseOne } from '../../catalogue/stored.ts';
import { DbopsError } from '../../errors.ts';
import type { Surveyed } from '../survey.ts';

/** Which archives are verified: those named, all, or a sample. */
export interface Wish {
  ids: string[];
  isAll: boolean;
  /** A share between 0 and 1. */
  sample: number | undefined;
}

/** Reads "5%". Throws usage. */
export function sampleOption(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const percent = Number(/^(\d+(?:\.\d+)?)\s*%$/.exec(text)?.[1] ?? Number.NaN);
  if (percent > 0 && percent <= 100) return percent / 100;
  throw new DbopsError('usage', `--sample is a share such as 5%, not "${text}"`, {
    hint: 'Write it with a percent sign, above 0% and at most 100%.',
  });
}

/**
 * The wanted ones of the archives that there are. An id may be given by its beginning. Throws archive_not_found, and
 * usage where several begin so.
 */
export function chooseArchives(archives: Surveyed[], wish: Wish, seed: string): Surveyed[] {
  if (wish.ids.length > 0) {
    const chosen = wish.ids.map((id) => chooseOne('archive', archives, id));
    return archives.filter((archive) => chosen.includes(archive));
  }
  const { sample } = wish;
  return sample === undefined ? archives : sampleOf(archives, sample, seed);
}

/**
 * A share of the archives, at least one. Which ones hangs on the seed alone, so that a sample can be taken again; another
 * day has another one. Pure.
 */
export function sampleOf<Item extends { id: string }>(items: Item[], share: number, seed: string): Item[] {
  const rank = (item: Item) => createHash('sha256').update(`${seed} ${item.id}`).digest('hex');
  const ranked = items
    .map((item) => ({ item, rank: rank(item) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .slice(0, Math.ceil(items.length * share))
    .map(({ item }) => item);
  return items.filter((item) => ranked.includes(item));
}
