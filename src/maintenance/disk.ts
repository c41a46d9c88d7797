import type { Db } from '../pg/connection.ts';
import { freeBytesOf } from '../process/work-directory.ts';
import { findDataDirectory } from '../sql/maintenance.ts';

/** Free bytes on the disk of the data directory; null where the server is on another host or its disk cannot be seen. */
export async function findFreeBytes(db: Db): Promise<number | null> {
  const directory = await findDataDirectory(db);
  if (directory === null) return null;
  try {
    return await freeBytesOf(directory);
  } catch {
    return null;
  }
}
