import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import { getServerIdentity } from '../../../sql/export.ts';
import { storeKey } from '../../../storage/key.ts';
import type { BackupContext } from '../../context.ts';

const idPattern = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/;

/**
 * Makes a directory that only this user can read, in the work directory, and removes it in the end. What a killed run of
 * the same database left is removed first: the job's lock says that no other is at work. Throws refused.
 */
export async function withWorkDirectory<T>(
  context: BackupContext,
  id: string,
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const { systemIdentifier } = await getServerIdentity(context.db);
  const own = `dbops-dump-${systemIdentifier}-${storeKey(context.db.server.database)}-`;
  const directory = join(context.workDirectory, `${own}${id}`);
  try {
    for (const name of await readdir(context.workDirectory)) {
      // A database may be called as this one with more behind it: only an id may follow.
      if (name.startsWith(own) && idPattern.test(name.slice(own.length)))
        await rm(join(context.workDirectory, name), { recursive: true, force: true });
    }
    await mkdir(directory, { mode: 0o700 });
  } catch (cause) {
    throw new DbopsError('refused', `${context.workDirectory} cannot be written to`, {
      detail: (cause as Error).message,
      hint: 'Set "backup.workDirectory" to a directory of this user, or give --stream, which needs none.',
      cause,
    });
  }
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
