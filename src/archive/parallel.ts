/** Does the work of each item, at most `jobs` at a time, and returns the results in their order. The first error is thrown. */
export async function inParallel<Item, Output>(
  jobs: number,
  items: readonly Item[],
  work: (item: Item) => Promise<Output>,
): Promise<Output[]> {
  const results: Output[] = [];
  const queue = items.entries();
  let isFailed = false;
  const worker = async () => {
    for (const [index, item] of queue) {
      if (isFailed) return;
      try {
        results[index] = await work(item);
      } catch (error) {
        isFailed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(jobs, items.length)) }, worker));
  return results;
}
