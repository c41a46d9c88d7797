import type { JobContext } from '../partition/context.ts';
import type { Tool } from '../process/tools.ts';
import type { Store } from '../storage/store.ts';

/** What a job on backups is handed, beside what every job is. */
export interface BackupContext extends JobContext {
  /** Opens the store of this name, once; the command closes them all. Throws store_unknown. */
  openStore: (name: string) => Promise<Store>;
  /** Every place where these programs are installed on this host; what cannot be run has no version. */
  findTools: (names: string[]) => Promise<Tool[]>;
  /** The connection for child processes: variables of libpq, secrets among them. */
  connection: Record<string, string>;
  /** Who runs this, for the manifest. */
  host: string;
  osUser: string;
  /** The number of this process. */
  pid: number;
  version: string;
  /** Where dumps and restores may write; it is there. */
  workDirectory: string;
  /** Parallel sessions. */
  jobs: number;
}
