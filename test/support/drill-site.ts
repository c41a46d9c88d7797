// A private cluster whose WAL is archived by "dbops wal push", for drills of its base backups.
import fs from 'node:fs';
import path from 'node:path';
import { registerCluster } from '../../src/backup/wal/cluster.ts';
import { archiveCommand } from '../../src/backup/wal/lines.ts';
import { FileStore } from '../../src/storage/file.ts';
import type { DrillSite } from './drill.ts';
import { drillDirectory } from './drill.ts';
import { waitUntil } from './database.ts';
import { entry } from './program.ts';
import { giveTo, siteYaml, startSite, type PhysicalSite } from './physical.ts';

export interface BaseDrillSite extends PhysicalSite, DrillSite {
  /** Replaces what stands below "backup:", indented by two; the drills are made in `drills` unless it says otherwise. */
  set: (more?: string) => void;
  /** Folders of WAL in the store. */
  walFolder: string;
  /** Waits until all that was written is in the store. */
  archived: () => Promise<void>;
}

/** Starts the cluster, with small segments; it is stopped after the tests of the file. */
export async function startDrillSite(initdbArgs: string[] = [], binDir?: string): Promise<BaseDrillSite> {
  const own = binDir === undefined ? {} : { binDir };
  const site = await startSite({ initdbArgs: ['--wal-segsize=1', ...initdbArgs], ...own });
  const drills = drillDirectory(site.dir);
  const spool = path.join(site.dir, 'spool');
  giveTo(site.server, spool);
  const set = (more = '') => {
    const drill = /^ {2}drill:/m.test(more) ? '' : `  drill: { directory: ${drills} }\n`;
    site.configure(`${siteYaml(site.store, `${drill}${more}`)}wal: { spool: ${spool} }\n`);
    fs.chmodSync(path.join(site.dir, 'dbops.yaml'), 0o644);
  };
  set();
  const { systemIdentifier, store, db } = site;
  await registerCluster(new FileStore('cold', store), {
    systemIdentifier,
    walSegmentBytes: 1024 ** 2,
    registeredAt: new Date(0).toISOString(),
    host: 'test',
    dbops: '0.0.0',
  });
  // The archiver is the server's own user.
  const owner = fs.statSync(site.server.dataDir);
  fs.chownSync(path.join(store, systemIdentifier, 'cluster.json'), owner.uid, owner.gid);
  const command = archiveCommand({
    node: process.execPath,
    entry,
    config: path.join(site.dir, 'dbops.yaml'),
    spool,
    systemIdentifier,
  });
  await db.query(`alter system set archive_command = '${command.replaceAll("'", "''")}'`);
  await db.query('select pg_reload_conf()');
  const archived = async () => {
    const [row] = await db.query<{ name: string }>(
      "select pg_walfile_name(pg_logical_emit_message(true, 'test', 'x')) as name",
    );
    await db.query('select pg_switch_wal()');
    await waitUntil(
      async () =>
        ((
          await db.query<{ last: string | null }>('select last_archived_wal as last from pg_stat_archiver')
        )[0]?.last ?? '') >= row!.name,
      { what: 'the archive', timeoutMs: 30_000 },
    );
  };
  await archived();
  return { ...site, drills, set, archived, walFolder: path.join(store, systemIdentifier, 'wal') };
}
