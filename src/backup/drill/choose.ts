import { backupKinds, type BackupKind } from '../../config/backup.ts';
import { DbopsError } from '../../errors.ts';
import type { Store } from '../../storage/store.ts';
import { findBackup, type FoundBackup } from '../catalogue/find.ts';
import { compareBackups, surveyBackups } from '../catalogue/survey.ts';
import type { BackupManifest } from '../manifest.ts';
import { isPhysical } from './report.ts';

/** What is restored into a place of its own: parts of a database have no such place. */
export const drillKinds: readonly BackupKind[] = backupKinds.filter(
  (kind) => isPhysical(kind) || kind === 'logical' || kind === 'schema',
);

/** Which backup is meant. */
export interface DrillChoice {
  /** Undefined: the newest. */
  id: string | undefined;
  /** The newest of this kind. */
  kind: BackupKind | undefined;
  /** The source, where it is known. */
  source: { systemIdentifier: string; database: string } | undefined;
}

export interface ChooseOptions {
  signal: AbortSignal;
  jobs: number;
  onProblem: (store: Store, error: DbopsError) => void;
}

/**
 * The backup of this id; else the newest of the source and, where that is not known, of the only cluster that the stores
 * hold. Throws backup_not_found, usage where several clusters could be meant, or what the stores throw.
 */
export async function chooseBackup(
  stores: Store[],
  choice: DrillChoice,
  options: ChooseOptions,
): Promise<FoundBackup> {
  const { id, source, kind } = choice;
  if (id !== undefined) return refuseOther(await findBackup(stores, id, options));
  // A schema has no rows to prove: only who asks for it gets it.
  const kinds = kind === undefined ? drillKinds.filter((item) => item !== 'schema') : [kind];
  const { backups, asked, failed } = await surveyBackups(stores, {
    systemIdentifier: source?.systemIdentifier,
    kinds,
    ...options,
  });
  const [failure] = failed;
  if (asked.length === 0 && failure !== undefined) throw failure.error;
  const manifests = backups.flatMap(({ manifest }) => (manifest === undefined ? [] : [manifest]));
  const eligible = manifests.filter(
    ({ database }) => source === undefined || database === null || database === source.database,
  );
  refuseSeveral(eligible);
  const newest = eligible.sort(compareBackups).at(-1);
  if (newest === undefined) {
    throw new DbopsError('backup_not_found', `there is no backup to drill (${kinds.join(', ')})`, {
      hint: '"dbops backup list --rebuild" shows the backups of the stores that are configured.',
    });
  }
  return await findBackup(stores, newest.id, options);
}

function refuseOther(found: FoundBackup): FoundBackup {
  const { kind } = found.manifest;
  if (drillKinds.includes(kind)) return found;
  throw new DbopsError(
    'refused',
    `backup ${found.id} is of kind "${kind}", which has no database to be drilled`,
    {
      hint: `"dbops restore table ${found.id}" restores its tables beside those that are there, and compares them.`,
    },
  );
}

/** Without the source nobody knows which cluster is meant. */
function refuseSeveral(manifests: BackupManifest[]): void {
  const systems = [...new Set(manifests.map((manifest) => manifest.server.systemIdentifier))];
  if (systems.length < 2) return;
  throw new DbopsError(
    'usage',
    'the stores hold backups of several clusters, and the source cannot be asked which is meant',
    {
      detail: `system identifiers: ${systems.join(', ')}`,
      hint: 'Name a backup with --id: "dbops backup list --rebuild" shows them.',
    },
  );
}
