import { text } from 'node:stream/consumers';
import { DbopsError } from '../../../errors.ts';
import { withWorkDirectory } from '../../../process/work-directory.ts';
import { withPlain, type FetchedBackup } from '../../fetch.ts';
import type { BackupManifest } from '../../manifest.ts';
import type { RestoreFiles } from './context.ts';
import { fetchDump, listEntries, schemaName, tocName } from './dump.ts';
import { fetchContext, findPrograms } from './plan.ts';

/** What a dump holds, one entry a line, as pg_restore lists it; of a plain one the script itself. */
export async function listDump(
  context: RestoreFiles,
  backup: FetchedBackup & { manifest: BackupManifest },
): Promise<string[]> {
  const { logical } = backup.manifest;
  if (logical === null) {
    throw new DbopsError(
      'refused',
      `backup ${backup.id} is of kind "${backup.manifest.kind}" and has no list of objects`,
      {
        hint: `"dbops backup show ${backup.id}" says what it is.`,
      },
    );
  }
  const dump = { ...backup, manifest: { ...backup.manifest, logical } };
  const fetching = fetchContext(context, await findPrograms(context, dump, 0));
  if (logical.format === 'plain') return [await withPlain(fetching, dump, schemaName, text)];
  return await withWorkDirectory(context.workDirectory, 'restore', async (directory) => {
    const found = await fetchDump(fetching, dump, directory, (name) => name === tocName);
    return (await listEntries(fetching, found)).map((entry) => entry.line);
  });
}
