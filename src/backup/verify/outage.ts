import type { DbopsError } from '../../errors.ts';
import { isStoreFailure } from '../../storage/copies.ts';

/** A store that could not be asked. */
export interface Outage {
  store: string;
  problem: string;
}

/** Whether a store failed to answer, which says nothing about what lies in it; that it has something not, does. */
export function isOutage(error: DbopsError): boolean {
  return isStoreFailure(error) && error.code !== 'store_missing';
}
