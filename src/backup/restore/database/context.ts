import type { Log } from '../../../output/log.ts';
import type { Db } from '../../../pg/connection.ts';
import type { Applied } from '../../../plan/apply.ts';
import type { Tool } from '../../../process/tools.ts';

/** What is needed to look into the files of a backup. */
export interface RestoreFiles {
  log: Log;
  signal: AbortSignal;
  findTools: (names: string[]) => Promise<Tool[]>;
  /** Where the files of a backup are put for the time of a restore; it is there. */
  workDirectory: string;
  jobs: number;
}

/** What a restore into databases of their own is handed: it works in several databases of one server. */
export interface RestoreContext extends RestoreFiles {
  /** In the database from which others are made, renamed and dropped. */
  db: Db;
  /** A session in another database of the same server; the caller closes it. */
  openDatabase: (name: string) => Promise<Db>;
  /** The connection of child processes to a database: variables of libpq, secrets among them. */
  connectionTo: (name: string) => Record<string, string>;
  /** Counts what took effect, for the exit code. */
  applied: Applied;
}
