import type { CopyPrograms } from '../process/copy.ts';
import type { JobContext } from '../partition/context.ts';
import type { Store } from '../storage/store.ts';

/** What a job on archives is handed, beside what every job is. */
export interface ArchiveContext extends JobContext {
  /** Opens the store of this name, once; the command closes them all. Throws store_unknown. */
  openStore: (name: string) => Promise<Store>;
  /** Finds psql and zstd, once. Throws tool_failed naming what is missing. */
  programs: () => Promise<CopyPrograms>;
  /** The connection for child processes: variables of libpq, secrets among them. */
  connection: Record<string, string>;
  /** Who runs this, for the manifest. */
  host: string;
  osUser: string;
  version: string;
  /** One worker, children of low priority, a limited rate. */
  isGentle: boolean;
  /** Parallel copies. */
  jobs: number;
}
