import type { Store } from '../storage/store.ts';
import { ours } from './stored.ts';

/** Something that is wrong with one object of one copy. */
export interface ObjectProblem {
  store: string;
  /** Its key. */
  object: string;
  problem: string;
}

/** What a manifest names and the store has not, or not in its length. A store that fails is a problem too. */
export async function findMissing(
  copy: { store: Store; place: string },
  objects: { name: string; sizeBytes: number }[],
  signal: AbortSignal,
): Promise<ObjectProblem[]> {
  const store = copy.store.name;
  const lengths = new Map<string, number>();
  try {
    for await (const object of copy.store.list(copy.place, { signal }))
      lengths.set(object.key, object.sizeBytes);
  } catch (error) {
    return [{ store, object: copy.place, problem: ours(error).message }];
  }
  return objects.flatMap(({ name, sizeBytes }) => {
    const object = `${copy.place}${name}`;
    const found = lengths.get(object);
    if (found === sizeBytes) return [];
    const problem =
      found === undefined
        ? 'it is missing'
        : `it has ${String(found)} bytes, and ${String(sizeBytes)} were written`;
    return [{ store, object, problem }];
  });
}
