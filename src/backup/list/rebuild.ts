import type { Db } from '../../pg/connection.ts';
import { isJobRunning } from '../../pg/advisory-lock.ts';
import { quietStep, transactionChange, type Change } from '../../plan/step.ts';
import { stateChanges } from '../../partition/retire/state-changes.ts';
import {
  backupHoldSql,
  backupStateSql,
  backupStoresSql,
  foundBackupSql,
  listBackupRows,
  type BackupRow,
  type StoredBackup,
} from '../../sql/backups.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { keyPart } from '../../storage/key.ts';
import { backupStates, factsOf, groupOf, tablesOf } from '../catalogue/facts.ts';
import { newestDrill } from '../catalogue/find.ts';
import { partsOfBackupPlace, type BackupSurvey, type SurveyedBackup } from '../catalogue/survey.ts';
import type { BackupManifest } from '../manifest.ts';
import { newest } from './lines.ts';

export interface BackupLedgerPlan {
  changes: Change[];
  /** What ledger and stores say differently, a sentence each. */
  differences: string[];
}

interface Facts {
  schema: string;
  survey: BackupSurvey;
  own: SurveyedBackup[];
  /** Stores that show at least one whole backup of this database or cluster: only they are believed when they lack another. */
  believed: Set<string>;
  plan: BackupLedgerPlan;
}

/**
 * What makes the ledger of this database say what its stores have of it and of its cluster. What no store shows is told,
 * and given up only where the stores are there at all: a disk that is not mounted is no proof of a loss.
 */
export async function planBackupLedger(
  db: Db,
  schema: string,
  survey: BackupSurvey,
): Promise<BackupLedgerPlan> {
  const { systemIdentifier } = await getServerIdentity(db);
  const isOwn = (place: string) => {
    const { system, database } = partsOfBackupPlace(place);
    return (
      system === keyPart(systemIdentifier) && (database === null || database === keyPart(db.server.database))
    );
  };
  const own = survey.backups.filter((backup) => isOwn(backup.copies[0]?.place ?? ''));
  const rows = (await listBackupRows(db, schema, backupStates)).filter((row) => isOwn(row.place));
  const isMaking = await isJobRunning(db, 'backup');
  const facts: Facts = {
    schema,
    survey,
    own,
    believed: new Set(own.flatMap(goodStores)),
    plan: { changes: [], differences: [] },
  };
  for (const backup of own) {
    const row = rows.find((item) => item.id === backup.id);
    if (row?.state === 'running' && isMaking) continue;
    if (row?.state === 'done') compare(facts, backup, row);
    else addFound(facts, backup, row);
  }
  for (const row of rows) {
    if (row.state === 'done' && !own.some((backup) => backup.id === row.id)) addLost(facts, row);
  }
  const { plan } = facts;
  if (plan.changes.length > 0) plan.changes.unshift(...(await stateChanges(db, schema)));
  return plan;
}

function addChange({ plan }: Facts, id: string, of: string, summary: string, sql: string): void {
  plan.changes.push(
    transactionChange({
      summary: `${summary}: backup ${id}`,
      table: of,
      event: 'backup_ledger_changed',
      fields: { backup: id },
      steps: [quietStep(sql, 'the ledger is to say what the stores have')],
    }),
  );
}

function goodStores(backup: SurveyedBackup): string[] {
  return backup.copies.filter((copy) => copy.manifest !== undefined).map((copy) => copy.store.name);
}

function holdOf(backup: SurveyedBackup): string | null {
  return backup.copies.find((copy) => copy.hold !== undefined)?.hold?.reason ?? null;
}

/** A backup that the ledger does not have, had given up, or did not hear the end of. */
function addFound(facts: Facts, backup: SurveyedBackup, row: BackupRow | undefined): void {
  const { manifest, id } = backup;
  if (manifest === undefined) return;
  if (row?.state === 'removed' && row.stores.length > 0) {
    facts.plan.differences.push(
      `the removal of backup ${id} was begun; the next "dbops backup prune" finishes it, or takes it back`,
    );
    return;
  }
  const found = storedBackup(backup, manifest);
  const where = found.stores.join(', ');
  facts.plan.differences.push(
    row === undefined
      ? `backup ${id} in ${where} is not in the ledger`
      : `backup ${id} is in ${where}, and the ledger had it as ${row.state}`,
  );
  const hold = found.hold ?? row?.hold ?? null;
  addChange(
    facts,
    id,
    groupOf({ ...manifest, tables: tablesOf(manifest) }),
    `record it as found in ${where}`,
    foundBackupSql(facts.schema, { ...found, hold }),
  );
}

function storedBackup(backup: SurveyedBackup, manifest: BackupManifest): StoredBackup {
  const { copies } = backup;
  const drill = newestDrill(copies.flatMap((copy) => (copy.drill === undefined ? [] : [copy.drill])));
  const passed = copies.flatMap((copy) =>
    copy.verified?.passed === true ? [new Date(copy.verified.at)] : [],
  );
  return {
    id: backup.id,
    kind: manifest.kind,
    database: manifest.database,
    place: copies[0]?.place ?? '',
    stores: goodStores(backup),
    ...factsOf(manifest),
    reason: manifest.reason,
    hold: holdOf(backup),
    startedAt: new Date(manifest.startedAt),
    finishedAt: new Date(manifest.finishedAt),
    verifiedAt: newest(passed),
    drilledAt: drill === undefined ? null : new Date(drill.at),
    drillPassed: drill?.passed ?? null,
  };
}

/** A store that was not asked, or shows nothing at all, is left as the ledger has it. */
function compare(facts: Facts, backup: SurveyedBackup, row: BackupRow): void {
  const { schema, plan, believed, survey } = facts;
  const good = goodStores(backup);
  const hold = holdOf(backup);
  const of = groupOf(row);
  if (hold !== null && row.hold === null) {
    plan.differences.push(`backup ${row.id} is held, and the ledger does not say so`);
    addChange(facts, row.id, of, 'record the hold', backupHoldSql(schema, row.id, hold));
  }
  if (hold === null && row.hold !== null && good.length > 0)
    plan.differences.push(
      `backup ${row.id} is held by the ledger alone; it stays held: put hold.json back with "dbops backup hold ${row.id}", or release it`,
    );
  const kept = row.stores.filter((name) => good.includes(name) || !believed.has(name));
  const added = good.filter((name) => !row.stores.includes(name));
  const lost = row.stores.filter((name) => !good.includes(name) && survey.asked.includes(name));
  if (lost.length > 0)
    plan.differences.push(
      `backup ${row.id} has no manifest that can be read in ${lost.join(', ')}, where the ledger has a copy`,
    );
  if (added.length > 0)
    plan.differences.push(
      `backup ${row.id} is also in ${added.join(', ')}, which the ledger does not know of`,
    );
  // Where no copy can be read nothing is given up: it may be one of a newer dbops.
  if (good.length === 0 || (kept.length === row.stores.length && added.length === 0)) return;
  const stores = [...kept, ...added];
  addChange(
    facts,
    row.id,
    of,
    `record that it is in ${stores.join(', ')}`,
    backupStoresSql(schema, row.id, stores),
  );
}

function addLost(facts: Facts, row: BackupRow): void {
  const { schema, plan, believed, survey } = facts;
  // Another --store than its own was asked for.
  if (!row.stores.some((name) => survey.asked.includes(name))) return;
  plan.differences.push(
    `backup ${row.id}, ${groupOf(row)}, is in none of the stores that answered (the ledger has it in ${row.stores.join(', ')})`,
  );
  if (!row.stores.every((name) => believed.has(name))) return;
  addChange(
    facts,
    row.id,
    groupOf(row),
    'record that no store has it',
    backupStateSql(schema, row.id, 'failed', 'found in none of its stores'),
  );
}
