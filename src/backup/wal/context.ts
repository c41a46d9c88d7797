import type { WalSettings } from '../../config/backup.ts';
import type { Log } from '../../output/log.ts';
import type { Store } from '../../storage/store.ts';

/** What the jobs on the archive of WAL are handed. None of them needs a database. */
export interface WalContext {
  settings: WalSettings;
  /** Opens the store of this name, once; the command closes them all. Throws store_unknown. */
  openStore: (name: string) => Promise<Store>;
  log: Log;
  signal: AbortSignal;
  host: string;
  version: string;
}
