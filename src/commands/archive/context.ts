import os from 'node:os';
import type { ArchiveContext } from '../../archive/context.ts';
import type { JobContext } from '../../partition/context.ts';
import { libpqEnvironment } from '../../pg/libpq.ts';
import { findCopyPrograms } from '../../process/tools.ts';
import { version } from '../../version.ts';
import type { CommandContext } from '../command.ts';
import { storesOf } from '../stores.ts';

/** Runs a job on archives with all that it needs, and closes the stores after it. */
export async function withArchives<T>(
  context: CommandContext<object>,
  job: JobContext,
  options: { isGentle: boolean; jobs: number | undefined },
  work: (archive: ArchiveContext) => Promise<T>,
): Promise<T> {
  const stores = storesOf(context);
  let programs: ReturnType<typeof findCopyPrograms> | undefined;
  try {
    return await work({
      ...job,
      openStore: stores.open,
      programs: () => (programs ??= findCopyPrograms(context.env['PATH'] ?? '')),
      connection: libpqEnvironment({ ...context.settings.connection, applicationName: 'dbops archive' }),
      host: os.hostname(),
      osUser: os.userInfo().username,
      version,
      isGentle: options.isGentle,
      jobs: options.jobs ?? context.settings.archive.jobs,
    });
  } finally {
    await stores.closeAll();
  }
}
