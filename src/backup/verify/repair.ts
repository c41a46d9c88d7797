import { ours } from '../../catalogue/stored.ts';
import type { Log } from '../../output/log.ts';
import { copyObject, manifestName } from '../../storage/copies.ts';
import { hashOf } from '../../storage/read.ts';
import type { Store } from '../../storage/store.ts';
import type { VerifiedBackup } from './verify.ts';

/**
 * Makes copies whole again that have a finding, from a store whose copy has none, and those that are missing in a store
 * that should have one. What is damaged is written over, the manifest last. Returns the stores that were repaired; what
 * fails is told as a warning, and the next verification finds it again.
 */
export async function repairCopies(
  context: { stores: Store[]; copies: string[]; signal: AbortSignal; log: Log },
  result: VerifiedBackup,
): Promise<string[]> {
  const { signal, log } = context;
  const source = result.copies.find((copy) => result.good.includes(copy.store.name));
  if (source?.manifest === undefined) return [];
  const { store: from, place, manifest } = source;
  const repaired: string[] = [];
  for (const name of context.copies) {
    const to = context.stores.find((store) => store.name === name);
    const own = result.findings.filter((item) => item.store === name && item.object.startsWith(place));
    if (to === undefined || own.length === 0) continue;
    const isTold = (key: string) => own.some((item) => item.object === place || item.object === key);
    try {
      for (const file of manifest.files) {
        const key = `${place}${file.name}`;
        const isMissing = (await to.head(key, { signal })) === undefined;
        if (isMissing || isTold(key)) await copyObject(from, to, key, file, signal);
      }
      const key = `${place}${manifestName}`;
      await copyObject(from, to, key, await hashOf(from, key, signal), signal);
      repaired.push(name);
      log.info(
        { event: 'backup_copy_repaired', backup: result.id, store: name },
        `copied backup ${result.id} from ${from.name} to ${name} where it was damaged`,
      );
    } catch (error) {
      log.warn(
        { event: 'backup_copy_not_repaired', backup: result.id, store: name },
        `the copy of ${result.id} in ${name} could not be repaired: ${ours(error).message}`,
      );
    }
  }
  return repaired;
}
