// "archive run" without its process: for stores with the patience of a test, which no flag of the command sets.
import type { ArchiveContext } from '../../src/archive/context.ts';
import { runArchive, type RunLine } from '../../src/archive/run/run.ts';
import { loadSettings } from '../../src/config/settings.ts';
import { DbopsError } from '../../src/errors.ts';
import { connect } from '../../src/pg/connection.ts';
import { findCopyPrograms } from '../../src/process/tools.ts';
import type { StoreOptions } from '../../src/storage/open.ts';
import { now, type Setup } from './archive-run.ts';
import { jobOf } from './job.ts';

/** Runs it with the configuration of a workspace, to the error that it ends with, if any. */
export async function runWithStores(
  setup: Pick<Setup, 'dir' | 'db'>,
  options: StoreOptions,
): Promise<{ lines: RunLine[]; error: DbopsError | undefined }> {
  const settings = await loadSettings({}, setup.dir, { DATABASE_URL: setup.db.url });
  const connection = { ...settings.connection, applicationName: 'dbops archive run' };
  const db = await connect(connection);
  const { context: job, opened } = jobOf('archive run', db, settings, new Date(now.DBOPS_TEST_NOW), options);
  const context: ArchiveContext = {
    ...job,
    programs: () => findCopyPrograms(process.env['PATH'] ?? ''),
    isGentle: false,
    jobs: settings.archive.jobs,
  };
  try {
    const { lines } = await runArchive(context, { partitions: [], until: 'dropped', max: 3 });
    return { lines, error: undefined };
  } catch (error) {
    if (error instanceof DbopsError) return { lines: [], error };
    throw error;
  } finally {
    for (const store of opened) await store.close();
    await db.close();
  }
}
