import { DbopsError } from '../../../errors.ts';
import type { Store } from '../../../storage/store.ts';
import { surveyBackups } from '../../catalogue/survey.ts';
import type { BackupManifest, PhysicalPart } from '../../manifest.ts';
import { parseLsn } from '../../wal/segment.ts';

/** A backup of a data directory, in the stores that have a copy with a manifest that can be read. */
export interface PhysicalBackup {
  id: string;
  place: string;
  manifest: BackupManifest;
  physical: PhysicalPart;
  stores: Store[];
  stopLsn: bigint;
  /** When it ended, in microseconds; to the millisecond, on the clock of the server. */
  stopMicros: bigint;
}

export interface CandidateOptions {
  /** Undefined: the only cluster that the stores have backups of. */
  system: string | undefined;
  /** A backup by the beginning of its id: then its cluster is the one that is meant. */
  id: string | undefined;
  signal: AbortSignal;
  jobs: number;
  onProblem: (store: Store, error: DbopsError) => void;
}

/**
 * The backups of one cluster that a recovery can begin from, oldest first, and the one that was given. Throws backup_not_found, usage when several ids begin so, refused when the
 * stores hold several clusters and none was named, or what the stores throw when none answered.
 */
export async function listPhysicalBackups(
  stores: Store[],
  options: CandidateOptions,
): Promise<{ all: PhysicalBackup[]; given: PhysicalBackup | undefined }> {
  const { system, signal, jobs, onProblem } = options;
  const { backups, asked, failed } = await surveyBackups(stores, {
    systemIdentifier: system,
    database: null,
    kinds: ['base', 'incremental', 'snapshot'],
    signal,
    jobs,
    onProblem,
  });
  const [failure] = failed;
  if (asked.length === 0 && failure !== undefined) throw failure.error;
  const found = backups.flatMap(({ copies }): PhysicalBackup[] => {
    const good = copies.filter((copy) => copy.manifest !== undefined);
    const [first] = good;
    const physical = first?.manifest?.physical ?? null;
    if (first?.manifest === undefined || physical === null) return [];
    const { manifest, place } = first;
    const stopLsn = parseLsn(physical.stopLsn);
    const stopMicros = BigInt(Date.parse(physical.stoppedAt)) * 1000n;
    return [
      {
        id: manifest.id,
        place,
        manifest,
        physical,
        stores: good.map((copy) => copy.store),
        stopLsn,
        stopMicros,
      },
    ];
  });
  if (found.length === 0) {
    throw new DbopsError(
      'backup_not_found',
      `there is no base backup${system === undefined ? '' : ` of cluster ${system}`} in the stores`,
      {
        hint: '"dbops backup list --rebuild" shows what is there; a logical backup is restored by "dbops restore database".',
      },
    );
  }
  const given = options.id === undefined ? undefined : pickById(found, options.id);
  const all = given === undefined ? found : found.filter((item) => systemOf(item) === systemOf(given));
  const systems = [...new Set(all.map(systemOf))];
  if (systems.length > 1) {
    throw new DbopsError('refused', 'the stores hold base backups of several clusters', {
      detail: `system identifiers: ${systems.join(', ')}`,
      hint: 'Name one with --system, or a backup by its id.',
    });
  }
  return {
    all: all.sort((a, b) => (a.stopMicros < b.stopMicros ? -1 : a.stopMicros > b.stopMicros ? 1 : 0)),
    given,
  };
}

function systemOf(backup: PhysicalBackup): string {
  return backup.manifest.server.systemIdentifier;
}

function pickById(found: PhysicalBackup[], id: string): PhysicalBackup {
  const exact = found.find((item) => item.id === id);
  const some = exact === undefined ? found.filter((item) => item.id.startsWith(id)) : [exact];
  const [only] = some;
  if (only !== undefined && some.length === 1) return only;
  if (only === undefined) {
    throw new DbopsError('backup_not_found', `there is no base backup "${id}" in the stores`, {
      hint: '"dbops backup list --rebuild" shows what is there.',
    });
  }
  throw new DbopsError(
    'usage',
    `several backups begin with "${id}": ${some.map((item) => item.id).join(', ')}`,
    {
      hint: 'Write more of the id.',
    },
  );
}

/** A backup with all that it builds on, the oldest first. Throws refused naming the link that is missing. Pure. */
export function chainOf(backup: PhysicalBackup, all: PhysicalBackup[]): PhysicalBackup[] {
  const chain = [backup];
  for (let parent = backup.physical.parent; parent !== null;) {
    const found = all.find((item) => item.id === parent);
    if (found === undefined || chain.includes(found)) {
      throw new DbopsError(
        'refused',
        `backup ${backup.id} builds on backup ${parent}, which is in no store`,
        {
          hint: 'Restore an earlier one by its id: "dbops backup list --rebuild" shows them.',
        },
      );
    }
    chain.unshift(found);
    parent = found.physical.parent;
  }
  return chain;
}
