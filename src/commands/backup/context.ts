import { mkdir } from 'node:fs/promises';
import os from 'node:os';
import type { BackupContext } from '../../backup/context.ts';
import type { JobContext } from '../../partition/context.ts';
import { libpqEnvironment } from '../../pg/libpq.ts';
import { findTools } from '../../process/tools.ts';
import { version } from '../../version.ts';
import { storesOf } from '../stores.ts';
import type { CommandContext } from '../command.ts';

/** Runs a job on backups with all that it needs, and closes the stores after it. */
export async function withBackups<T>(
  context: CommandContext<object>,
  job: JobContext,
  options: { jobs: number | undefined },
  work: (backup: BackupContext) => Promise<T>,
): Promise<T> {
  const { settings, env } = context;
  const stores = storesOf(context);
  const workDirectory = settings.backup.workDirectory ?? os.tmpdir();
  await mkdir(workDirectory, { recursive: true });
  try {
    return await work({
      ...job,
      openStore: stores.open,
      findTools: (names) => findTools(names, env['PATH'] ?? ''),
      connection: libpqEnvironment({ ...settings.connection, applicationName: 'dbops backup' }),
      host: os.hostname(),
      osUser: os.userInfo().username,
      pid: process.pid,
      version,
      workDirectory,
      jobs: options.jobs ?? settings.backup.jobs,
    });
  } finally {
    await stores.closeAll();
  }
}
