import type { BackupKind } from '../../config/backup.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
import { describePlace } from '../../pg/client.ts';
import { getSourcePaths } from '../../sql/drill.ts';
import { getServerIdentity } from '../../sql/export.ts';
import type { Store } from '../../storage/store.ts';
import type { FoundBackup } from '../catalogue/find.ts';
import { storedBytesOf } from '../manifest.ts';
import { chooseBackup } from './choose.ts';
import type { DrillContext } from './context.ts';
import { refuseServerDirectory, refuseTooFull } from './directory.ts';

export interface DrillWish {
  id: string | undefined;
  kind: BackupKind | undefined;
  /** As "restore pitr" takes it; undefined: a mark that is made on the source for it, else the end of the archive. */
  to: string | undefined;
  keep: boolean;
}

/** A drill that can be begun; nothing is written yet. */
export interface DrillPlan {
  backup: FoundBackup;
  /** Whether the source is there, and the backup is of its cluster. */
  isOfSource: boolean;
  /** What is done, one line each. */
  steps: string[];
}

/**
 * Chooses the backup, and looks whether there is a place for it. Throws backup_not_found, refused where the directory of
 * drills belongs to a server or is too small, or what the stores throw.
 */
export async function planDrill(context: DrillContext, wish: DrillWish): Promise<DrillPlan> {
  const { log, signal, jobs, source, directory } = context;
  const identity =
    typeof source === 'string'
      ? undefined
      : { ...(await getServerIdentity(source.db)), database: source.db.server.database };
  const backup = await chooseBackup(
    await openStores(context),
    { id: wish.id, kind: wish.kind, source: identity },
    {
      signal,
      jobs,
      onProblem: (store, error) =>
        log.warn({ event: 'store_failed', store: store.name }, `store "${store.name}": ${error.message}`),
    },
  );
  const { manifest } = backup;
  const known = manifest.physical?.tablespaces.map((item) => item.location) ?? [];
  await refuseServerDirectory(directory, [...known, ...(await sourcePaths(context))]);
  await refuseTooFull(directory, manifest.sourceBytes + storedBytesOf(manifest));
  const isOfSource = identity?.systemIdentifier === manifest.server.systemIdentifier;
  return { backup, isOfSource, steps: describe(context, wish, { backup, isOfSource }) };
}

async function openStores(context: DrillContext): Promise<Store[]> {
  const names = context.settings.backup.copies;
  if (names.length > 0) return await Promise.all(names.map(context.openStore));
  throw new DbopsError('store_unknown', 'there is no store for backups', {
    hint: 'Name one under "stores:" in the configuration, with its url (file:///path or s3://bucket/prefix).',
  });
}

async function sourcePaths({ source }: DrillContext): Promise<string[]> {
  if (typeof source === 'string') return [];
  const { tablespaces, dataDirectory } = await getSourcePaths(source.db);
  return dataDirectory === null ? tablespaces : [...tablespaces, dataDirectory];
}

function describe(
  { settings, directory }: DrillContext,
  wish: DrillWish,
  { backup, isOfSource }: Omit<DrillPlan, 'steps'>,
): string[] {
  const { kind, database, finishedAt, logical, physical } = backup.manifest;
  const { url, checks } = settings.backup.drill;
  const isOnServer = logical !== null && url !== undefined;
  const marks =
    logical !== null || wish.to !== undefined || !isOfSource || physical?.wal === 'included'
      ? []
      : [
          'mark the source, name a restore point, mark it again, end the segment, and wait for it in the archive',
        ];
  return [
    `restore ${kind} backup ${backup.id} of ${database === null ? 'the cluster' : `database "${database}"`} (finished ${finishedAt}, ${humanBytes(storedBytesOf(backup.manifest))}) from ${backup.stores.map((store) => store.name).join(', ')}`,
    ...marks,
    isOnServer
      ? `into a database of its own on ${describePlace({ ...settings.connection, url, applicationName: '' })}`
      : `on a server of its own below ${directory}, without an archive, reached by its owner alone`,
    ...(logical === null
      ? [`recover to ${wish.to ?? (marks.length > 0 ? 'the restore point' : 'the end of the archive')}`]
      : []),
    `prove it${Object.keys(checks).length === 0 ? '' : `, with ${Object.keys(checks).join(', ')} of the configuration`}`,
    wish.keep ? 'leave it' : 'remove it',
    `write drill.json beside the backup in ${backup.stores.map((store) => store.name).join(', ')}`,
  ];
}
