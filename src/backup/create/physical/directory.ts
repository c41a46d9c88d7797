import { DbopsError } from '../../../errors.ts';
import { humanBytes } from '../../../output/human.ts';
import { freeBytesOf } from '../../../process/work-directory.ts';
import type { BackupContext } from '../../context.ts';

/** Tars have headers, and the cluster grows meanwhile. */
const margin = 1.05;

/** Throws refused where the tars of a cluster with tablespaces have no room. */
export async function refuseTooLittleSpace(context: BackupContext, sourceBytes: number): Promise<void> {
  const free = await freeBytesOf(context.workDirectory);
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
