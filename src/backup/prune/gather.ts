import { findMissing } from '../../catalogue/presence.ts';
import { ours } from '../../catalogue/stored.ts';
import type { JobContext } from '../../partition/context.ts';
import { isJobRunning } from '../../pg/advisory-lock.ts';
import { inParallel } from '../../process/parallel.ts';
import { listBackupRows, type BackupRow } from '../../sql/backups.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { keyPart } from '../../storage/key.ts';
import type { Store } from '../../storage/store.ts';
import { backupStates, isPhysical } from '../catalogue/facts.ts';
import { findPin } from '../catalogue/pin.ts';
import {
  partsOfBackupPlace,
  surveyBackups,
  type BackupSurvey,
  type SurveyedBackup,
} from '../catalogue/survey.ts';
import type { BackupContext } from '../context.ts';
import { findLease } from './lease.ts';
import { askPgbackrest, type PgbackrestFacts } from './pgbackrest.ts';

export interface PruneContext extends JobContext {
  openStore: (name: string) => Promise<Store>;
  findTools: BackupContext['findTools'];
}

/** What is wrong with a copy, as far as that is known without reading it; undefined: nothing. */
export type CopyTrouble = Map<string, string>;

/** Everything that a plan of retention is made of. */
export interface PruneFacts {
  systemIdentifier: string;
  stores: Store[];
  survey: BackupSurvey;
  /** The ledger, oldest first. */
  rows: BackupRow[];
  /** By id: store to what is wrong with that copy. */
  trouble: Map<string, CopyTrouble>;
  /** By id: why a restore or drill needs it at the moment. */
  pins: Map<string, string>;
  /** Whether a session of this database makes a backup at the moment. */
  isMaking: boolean;
  pgbackrest: PgbackrestFacts;
  /** Who makes a base backup from elsewhere; undefined: nobody. */
  lease: string | undefined;
}

/**
 * Looks at the backups of this database and of its cluster, in all stores and in the ledger. Backups of other databases
 * and other clusters are left to those who can ask their ledgers.
 */
export async function gatherFacts(context: PruneContext): Promise<PruneFacts> {
  const { db, settings, signal, now } = context;
  const { systemIdentifier } = await getServerIdentity(db);
  const stores = await Promise.all(settings.stores.map((store) => context.openStore(store.name)));
  const jobs = settings.backup.jobs * 4;
  // Who makes a backup is asked first: what it then lays into a store is seen with its maker, or not at all.
  const lease = await findLease(stores, systemIdentifier, now, signal);
  const isMaking = await isJobRunning(db, 'backup');
  const rows = await listBackupRows(db, settings.stateSchema, backupStates);
  const all = await surveyBackups(stores, { isBrief: true, systemIdentifier, signal, jobs });
  const own = keyPart(db.server.database);
  const isOwn = (item: SurveyedBackup) => {
    const { database } = partsOfBackupPlace(item.copies[0]?.place ?? '');
    return database === null || database === own;
  };
  const survey = { ...all, backups: all.backups.filter(isOwn), remains: all.remains.filter(isOwn) };
  const facts: PruneFacts = {
    systemIdentifier,
    stores,
    survey,
    rows: rows.filter((row) => partsOfBackupPlace(row.place).system === keyPart(systemIdentifier)),
    trouble: new Map(),
    pins: new Map(),
    isMaking,
    pgbackrest: await askPgbackrest(
      context,
      survey.backups.flatMap(({ manifest }) => manifest ?? []),
    ),
    lease,
  };
  await inParallel(jobs, survey.backups, signal, async (backup, own) => {
    facts.trouble.set(backup.id, await troubleOf(backup, own));
    for (const copy of backup.copies) {
      const pin = await findPin(copy.store, copy.place, now, own).catch(
        (error: unknown) => `whether a restore reads it cannot be told: ${ours(error).message}`,
      );
      if (pin !== undefined) facts.pins.set(backup.id, pin);
    }
  });
  return facts;
}

/** One listing a copy: what it lacks, and what its last verification found. */
async function troubleOf(backup: SurveyedBackup, signal: AbortSignal): Promise<CopyTrouble> {
  const trouble: CopyTrouble = new Map();
  for (const copy of backup.copies) {
    const { store, manifest, problem, verified } = copy;
    if (manifest === undefined || problem !== undefined) {
      trouble.set(store.name, problem?.message ?? 'it has no manifest');
      continue;
    }
    const [missing] = await findMissing(copy, manifest.files, signal);
    if (missing !== undefined) trouble.set(store.name, `${missing.object}: ${missing.problem}`);
    else if (verified?.passed === false)
      trouble.set(
        store.name,
        `its verification at ${verified.at} found: ${verified.problems[0] ?? 'damage'}`,
      );
  }
  return trouble;
}

/**
 * Why nothing of a kind of thing goes, by the newest attempts in the ledger and by what the stores lack. `group` is told by
 * kind and database alone: of a failed run no more is known.
 */
export function whyBlocked(facts: PruneFacts, kind: string, database: string | null): string | undefined {
  const [failed] = facts.survey.failed;
  if (failed !== undefined) return `store "${failed.store}" cannot be asked: ${failed.error.message}`;
  const unreadable = facts.survey.backups.find(
    (item) =>
      item.manifest === undefined &&
      (partsOfBackupPlace(item.copies[0]?.place ?? '').database === null) === (database === null),
  );
  if (unreadable !== undefined)
    return `what backup ${unreadable.id} is cannot be told, since no copy has a manifest that can be read`;
  if (isPhysical(kind) && facts.lease !== undefined) return facts.lease;
  const attempts = facts.rows.filter(
    (row) => row.kind === kind && row.database === database && row.state !== 'removed',
  );
  if (isPhysical(kind) && facts.isMaking) {
    const making = facts.rows.find((row) => row.state === 'running' && isPhysical(row.kind));
    if (making !== undefined)
      return `backup ${making.id} (${making.kind}) is being made, and may build on it`;
  }
  const newest = attempts.filter((row) => !(row.state === 'running' && facts.isMaking)).at(-1);
  if (newest?.state === 'failed')
    return `the newest attempt failed: ${newest.id}${newest.message === null ? '' : `, ${newest.message}`}`;
  if (newest?.state === 'running') return `the newest attempt, ${newest.id}, was interrupted`;
  for (const row of attempts) {
    if (row.state !== 'done') continue;
    const lost = lostCopy(facts, row);
    if (lost !== undefined) return lost;
  }
  return undefined;
}

/** The ledger has a copy that its store has not, or a copy is damaged of which another is good: repaired, it is none. */
function lostCopy(facts: PruneFacts, row: BackupRow): string | undefined {
  const found = facts.survey.backups.find((item) => item.id === row.id);
  const trouble = facts.trouble.get(row.id);
  if (found !== undefined && found.copies.every((copy) => trouble?.has(copy.store.name))) return undefined;
  for (const name of row.stores) {
    if (!facts.survey.asked.includes(name)) continue;
    const isThere = found?.copies.some((copy) => copy.store.name === name && copy.hasManifest) === true;
    if (!isThere)
      return `backup ${row.id} has lost its copy in "${name}": dbops backup verify ${row.id} --repair, or backup list --rebuild to give it up`;
    const problem = trouble?.get(name);
    if (problem !== undefined)
      return `backup ${row.id} is damaged in "${name}" (${problem}): dbops backup verify ${row.id} --repair`;
  }
  return undefined;
}

/** Why no WAL goes: more than with a backup, since one that is in none of these stores needs its WAL all the same. */
export function whyWalStays(facts: PruneFacts): string | undefined {
  const blocked = whyBlocked(facts, 'base', null);
  if (blocked !== undefined) return blocked;
  for (const row of facts.rows) {
    if (row.state !== 'done' || !isPhysical(row.kind)) continue;
    const lost = lostCopy(facts, row);
    if (lost !== undefined) return lost;
    if (!facts.survey.backups.some(({ id, manifest }) => id === row.id && manifest !== undefined))
      return `backup ${row.id} (${row.kind}) needs some of it, and is in ${row.stores.join(', ') || 'no store'}, which this configuration does not have`;
  }
  return undefined;
}
