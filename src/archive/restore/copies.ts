import { DbopsError } from '../../errors.ts';
import type { Store } from '../../storage/store.ts';
import type { FoundArchive } from '../catalogue.ts';
import type { ArchiveContext } from '../context.ts';

/** What is wrong with a copy or its store, and may be right in another. */
const codes = new Set(['copy_damaged', 'store_failed', 'store_denied', 'store_missing']);

/** Does something with a part, or a file, in the first store whose copy is good. Throws what the last store's copy was refused for. */
export async function withGoodCopy<T>(
  context: Pick<ArchiveContext, 'log' | 'signal'>,
  archive: Pick<FoundArchive, 'stores' | 'place'>,
  part: { name: string },
  work: (store: Store, key: string) => Promise<T>,
): Promise<T> {
  const { stores, place } = archive;
  for (const [index, store] of stores.entries()) {
    try {
      return await work(store, `${place}${part.name}`);
    } catch (error) {
      const isCopys = error instanceof DbopsError && codes.has(error.code);
      if (!isCopys || index === stores.length - 1 || context.signal.aborted) throw error;
      context.log.warn(
        { event: 'restore_copy_damaged', store: store.name, part: part.name, code: error.code },
        `${error.message}; trying the next store that has it`,
      );
    }
  }
  throw new Error('an archive or a backup in no store');
}
