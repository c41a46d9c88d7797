/**
 * Does two things at once. When one fails the other is told to stop and waited for: neither goes on reading or writing
 * after its result is of no use. Throws what failed first.
 */
export async function together<A, B>(
  signal: AbortSignal,
  first: (signal: AbortSignal) => Promise<A>,
  second: (signal: AbortSignal) => Promise<B>,
): Promise<[A, B]> {
  const abort = new AbortController();
  const both = AbortSignal.any([signal, abort.signal]);
  const stopOther = (error: unknown): never => {
    abort.abort(error);
    throw error;
  };
  const work = [first(both).catch(stopOther), second(both).catch(stopOther)] as const;
  await Promise.allSettled(work);
  if (abort.signal.aborted) throw abort.signal.reason;
  return await Promise.all(work);
}
