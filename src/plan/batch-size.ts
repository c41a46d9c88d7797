/** What one batch aims to take, in milliseconds. */
const aimMs = { least: 100, most: 250 };

/** Rows of the first batch, and the fewest that a batch shrinks to by its time. */
export const batchSizes = { first: 1000, least: 10 };

/** The most rows of one batch, unless the command says otherwise. */
export const defaultBatchSize = 50_000;
const maxGrowth = 1.2;

/** The next size of a batch, from what the last one took. Grows slowly and shrinks fast. Pure. */
export function nextSize(size: number, tookMs: number, most: number): number {
  if (tookMs > aimMs.most)
    return Math.max(Math.floor(size * Math.max(aimMs.most / tookMs, 0.5)), batchSizes.least);
  if (tookMs >= aimMs.least) return size;
  return Math.min(Math.ceil(size * maxGrowth), most);
}
