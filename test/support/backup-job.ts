// "backup create" without its process: for stores with the patience of a test, which no flag of the command sets.
import os from 'node:os';
import { createBackup, type CreatedBackup } from '../../src/backup/create/create.ts';
import { findMaker } from '../../src/backup/create/makers.ts';
import type { BackupWish } from '../../src/backup/create/maker.ts';
import type { BackupContext } from '../../src/backup/context.ts';
import { loadSettings } from '../../src/config/settings.ts';
import { DbopsError } from '../../src/errors.ts';
import { connect } from '../../src/pg/connection.ts';
import { findTools } from '../../src/process/tools.ts';
import type { StoreOptions } from '../../src/storage/open.ts';
import { jobOf } from './job.ts';

/** Makes one with the configuration of a workspace: what was made, or the error that it ended with. */
export async function createWithStores(
  site: { dir: string; db: { url: string } },
  kind: BackupWish['kind'],
  options: StoreOptions,
): Promise<{ made: CreatedBackup | undefined; error: DbopsError | undefined }> {
  const settings = await loadSettings({}, site.dir, { DATABASE_URL: site.db.url });
  const connection = { ...settings.connection, applicationName: 'dbops backup create' };
  const db = await connect(connection);
  const { context: job, opened } = jobOf('backup create', db, settings, new Date(), options);
  const context: BackupContext = {
    ...job,
    findTools: (names) => findTools(names, process.env['PATH'] ?? ''),
    pid: process.pid,
    workDirectory: os.tmpdir(),
    jobs: settings.backup.jobs,
  };
  const wish: BackupWish = {
    kind,
    tables: [],
    excludeData: [],
    reason: null,
    stream: false,
    type: null,
    parent: null,
  };
  try {
    const maker = await findMaker(kind);
    return {
      made: await createBackup(context, wish, maker, await maker.plan(context, wish)),
      error: undefined,
    };
  } catch (error) {
    if (error instanceof DbopsError) return { made: undefined, error };
    throw error;
  } finally {
    await db.close();
    for (const store of opened) await store.close();
  }
}
