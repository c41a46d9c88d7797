/**
 * Does several things at once. When one fails the others are told to stop and waited for: none goes on reading or writing
 * after its result is of no use. Throws what failed first; what the others say afterwards is its echo.
 */
export async function together<Results extends unknown[]>(
  signal: AbortSignal,
  ...tasks: { [Index in keyof Results]: (signal: AbortSignal) => Promise<Results[Index]> }
): Promise<Results> {
  const abort = new AbortController();
  const all = AbortSignal.any([signal, abort.signal]);
  const work = tasks.map((task) =>
    task(all).catch((error: unknown) => {
      abort.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(work);
  if (abort.signal.aborted) throw abort.signal.reason;
  return (await Promise.all(work)) as Results;
}

/** Does the work of each item, at most `jobs` at a time, as together(), and returns the results in their order. */
export async function inParallel<Item, Output>(
  jobs: number,
  items: readonly Item[],
  signal: AbortSignal,
  work: (item: Item, signal: AbortSignal) => Promise<Output>,
): Promise<Output[]> {
  const results: Output[] = [];
  const queue = items.entries();
  const worker = async (own: AbortSignal) => {
    for (const [index, item] of queue) {
      // After another's failure nothing is begun; an interruption is for the work to report.
      if (own.aborted && !signal.aborted) return;
      results[index] = await work(item, own);
    }
  };
  await together(signal, ...Array.from({ length: Math.min(jobs, items.length) }, () => worker));
  return results;
}
