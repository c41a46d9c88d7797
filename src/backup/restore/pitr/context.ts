import type { Settings } from '../../../config/settings.ts';
import type { Log } from '../../../output/log.ts';
import type { Account } from '../../../process/account.ts';
import type { Tool } from '../../../process/tools.ts';
import type { Applied } from '../../../plan/apply.ts';
import type { Store } from '../../../storage/store.ts';

/** What a recovery from the stores alone is handed: there need not be a database anywhere. */
export interface PitrContext {
  settings: Settings;
  log: Log;
  signal: AbortSignal;
  applied: Applied;
  openStore: (name: string) => Promise<Store>;
  findTools: (names: string[]) => Promise<Tool[]>;
  /** For segments that are looked into; it is there. */
  workDirectory: string;
  jobs: number;
  host: string;
  /** The restore_command for WAL of this cluster, with %f and %p; only these stores are asked, so long (15s) at most. */
  restoreCommand: (systemIdentifier: string, stores: string[], deadline?: string) => string;
  /** Variables that the restore_command needs to find its stores: those of dbops, AWS and the like. */
  environment: Record<string, string>;
}

/** Programs that a recovery needs, by path. */
export interface PitrPrograms {
  postgres: string;
  pgCtl: string;
  /** Undefined: not installed, or not needed. */
  pgWaldump: string | undefined;
  pgVerifybackup: string | undefined;
  pgCombinebackup: string | undefined;
  zstd: string;
  tar: string;
  version: string;
}

/** As whom and with what the restored server is run. */
export interface Runner {
  account: Account;
  programs: PitrPrograms;
}
