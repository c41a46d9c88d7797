import { quickTimeoutMs } from '../../sql/quick.ts';
import { groupOf, isPhysical, tablesOf } from '../../backup/catalogue/facts.ts';
import { newestDrill } from '../../backup/catalogue/find.ts';
import { momentOf, surveyBackups, type SurveyedBackup } from '../../backup/catalogue/survey.ts';
import type { BackupKind } from '../../config/backup.ts';
import { DbopsError } from '../../errors.ts';
import { sqlStateOf } from '../../pg/sqlstate.ts';
import { listBackupRows, type BackupRow } from '../../sql/backups.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { findStateVersion } from '../../sql/state.ts';
import { skip, type CheckContext, type Look, type Observation } from '../check.ts';
import { oncePerRun } from '../once.ts';
import { stateGrant } from '../state-grant.ts';

/** A backup of this database or of its cluster, or the attempt at one. */
export interface KnownBackup {
  id: string;
  kind: BackupKind;
  /** "logical of factory". */
  of: string;
  /** Whether all that is in the database comes back from it. */
  isWhole: boolean;
  hasFailed: boolean;
  /** What it brings back; when it began, where it failed. */
  moment: Date;
  startedAt: Date;
  message: string | null;
  verifiedAt: Date | null;
  drilledAt: Date | null;
  drillPassed: boolean | null;
}

/** What is known; where nothing can be said, what to say instead. */
export type Known = { backups: KnownBackup[]; from: string } | { look: Look };

/**
 * The backups of this database and of its cluster: by the ledger, and by the stores where there is no ledger yet. Those that
 * run are left out.
 */
export const knownBackups = oncePerRun(async (context: CheckContext): Promise<Known> => {
  const { db, settings } = context;
  const { stateSchema } = settings;
  if (settings.backup.copies.length === 0)
    return { look: skip('no store is configured, and without one dbops makes no backups') };
  try {
    if ((await findStateVersion(db, stateSchema)) === 0) return await inStores(context);
    const rows = await listBackupRows(db, stateSchema, ['done', 'failed']);
    const own = rows.filter((row) => row.database === null || row.database === db.server.database);
    return { backups: own.map(ofRow), from: 'the ledger' };
  } catch (error) {
    if (!(error instanceof DbopsError) || sqlStateOf(error) !== '42501') throw error;
    return unknown('the ledger of backups may not be read', {
      advice: 'Give the role what it takes, as the owner of the schema.',
      mend: stateGrant(db, settings),
    });
  }
});

function unknown(message: string, rest: Pick<Observation, 'advice' | 'mend' | 'detail'>): Known {
  return { look: { observations: [{ object: null, value: null, message, ...rest }], summary: message } };
}

function isWholeKind(kind: string): boolean {
  return kind === 'logical' || kind === 'pgbackrest' || isPhysical(kind);
}

function ofRow(row: BackupRow): KnownBackup {
  return {
    id: row.id,
    kind: row.kind as BackupKind,
    of: groupOf(row),
    isWhole: isWholeKind(row.kind) && row.tables === null,
    hasFailed: row.state === 'failed',
    moment: row.moment ?? row.startedAt,
    startedAt: row.startedAt,
    message: row.message,
    verifiedAt: row.verifiedAt,
    drilledAt: row.drilledAt,
    drillPassed: row.drillPassed,
  };
}

/** Asks no store for longer than a question to the server may take. */
async function inStores({ db, settings, signal, openStore }: CheckContext): Promise<Known> {
  const { systemIdentifier } = await getServerIdentity(db);
  const late = AbortSignal.timeout(quickTimeoutMs);
  try {
    const stores = await Promise.all(settings.backup.copies.map(openStore));
    const survey = await surveyBackups(stores, {
      systemIdentifier,
      signal: AbortSignal.any([signal, late]),
      jobs: settings.backup.jobs,
      isBrief: true,
    });
    const [failure] = survey.failed;
    if (failure !== undefined)
      return unknown(`store "${failure.store}" could not be asked: ${failure.error.message}`, {
        advice: failure.error.hint ?? 'See "dbops doctor".',
      });
    const own = survey.backups.flatMap(ofSurvey);
    const { database } = db.server;
    return {
      backups: own.filter((item) => item.database === null || item.database === database),
      from: 'the stores',
    };
  } catch (error) {
    if (!late.aborted || signal.aborted) throw error;
    return unknown(`the stores did not answer within ${String(quickTimeoutMs / 1000)} s`, {
      advice: '"dbops backup list --rebuild" reads them with more patience, and writes the ledger.',
      mend: 'dbops backup list --rebuild',
    });
  }
}

function ofSurvey({ id, manifest, copies }: SurveyedBackup): (KnownBackup & { database: string | null })[] {
  if (manifest === undefined) return [];
  const good = copies.flatMap(({ verified }) => (verified?.passed === true ? [new Date(verified.at)] : []));
  const drill = newestDrill(copies.flatMap((copy) => (copy.drill === undefined ? [] : [copy.drill])));
  const tables = tablesOf(manifest);
  return [
    {
      id,
      database: manifest.database,
      kind: manifest.kind,
      of: groupOf({ ...manifest, tables }),
      isWhole: isWholeKind(manifest.kind) && tables === null,
      hasFailed: false,
      moment: momentOf(manifest),
      startedAt: new Date(manifest.startedAt),
      message: null,
      verifiedAt: newestOf(good),
      drilledAt: drill === undefined ? null : new Date(drill.at),
      drillPassed: drill?.passed ?? null,
    },
  ];
}

/** The newest of some times. */
export function newestOf(times: (Date | null)[]): Date | null {
  return times.reduce<Date | null>(
    (latest, time) => (time !== null && (latest === null || time > latest) ? time : latest),
    null,
  );
}
