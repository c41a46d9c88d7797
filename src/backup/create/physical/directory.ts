import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import { humanBytes } from '../../../output/human.ts';
import type { BackupContext } from '../../context.ts';

/** Tars have headers, and the cluster grows meanwhile. */
const margin = 1.05;

/** Throws refused where the tars of a cluster with tablespaces have no room. */
export async function refuseTooLittleSpace(context: BackupContext, sourceBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(context.workDirectory);
  const free = bavail * bsize;
  const needed = Math.ceil(sourceBytes * margin);
  if (free >= needed) return;
  throw new DbopsError(
    'refused',
    `the work directory ${context.workDirectory} has ${humanBytes(free)} free, and the cluster has ${humanBytes(needed)}`,
    {
      hint: 'pg_basebackup writes a cluster with tablespaces to files only. Name a larger directory under "backup.workDirectory".',
    },
  );
}

/** A folder of our own in the work directory, which is removed afterwards. */
export async function inOwnFolder<T>(
  context: Pick<BackupContext, 'workDirectory'>,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(context.workDirectory, 'dbops-base-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
