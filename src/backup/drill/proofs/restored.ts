import type { Log } from '../../../output/log.ts';
import type { Db } from '../../../pg/connection.ts';

/** A server with what was restored on it, as the proofs see it. */
export interface Restored {
  /** The database that the drill looks into: the restored one, or for a whole cluster that of the configuration. */
  database: string;
  /** All that belong to the backup. */
  databases: string[];
  /** A session in one of its databases; the caller closes it. */
  openDatabase: (name: string) => Promise<Db>;
  /** Variables of libpq for programs that look into one of them. */
  connectionTo: (name: string) => Record<string, string>;
  isSuperuser: boolean;
  /** Undefined: not installed on this host. */
  pgAmcheck: string | undefined;
  jobs: number;
  log: Log;
  signal: AbortSignal;
}

/** Looks into one database. */
export async function lookInto<T>(
  restored: Pick<Restored, 'openDatabase'>,
  name: string,
  look: (db: Db) => Promise<T>,
): Promise<T> {
  const db = await restored.openDatabase(name);
  try {
    return await look(db);
  } finally {
    await db.close();
  }
}
