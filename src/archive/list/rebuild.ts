import type { Db } from '../../pg/connection.ts';
import { quietStep, transactionChange, type Change } from '../../plan/step.ts';
import { stateChanges } from '../../partition/retire/state-changes.ts';
import {
  archiveFoundSql,
  archiveHoldSql,
  archiveStoresSql,
  insertFoundArchiveSql,
} from '../../sql/archive-catalogue.ts';
import { archiveStateSql, listArchiveRows, type ArchiveRow } from '../../sql/archives.ts';
import { displayName } from '../../sql/quote.ts';
import { storedBytesOf, type Manifest } from '../manifest.ts';
import { ownPlaces, partsOfPlace, type Survey, type Surveyed } from '../survey.ts';
import { archiveStates, partitionOf, tableOf } from './lines.ts';

export interface LedgerPlan {
  changes: Change[];
  /** What ledger and stores say differently, a sentence each. */
  differences: string[];
}

interface Facts {
  schema: string;
  survey: Survey;
  /** Stores that show at least one whole archive of this database: only they are believed when they lack another. */
  believed: Set<string>;
}

/**
 * What makes the ledger of this database say what its stores have. Nothing that was proven is invented: a found archive
 * is verified as of its manifest, and has to be proven against its partition again before that may go. What no store
 * shows is told and given up only where the stores are there at all: a disk that is not mounted is no proof of a loss.
 */
export async function planLedger(db: Db, schema: string, survey: Survey): Promise<LedgerPlan> {
  const isOwn = await ownPlaces(db);
  const own = survey.archives.filter((archive) => isOwn(partsOfPlace(archive.copies[0]?.place ?? '')));
  const rows = await listArchiveRows(db, schema, archiveStates);
  const whole = own.flatMap((archive) => archive.copies.filter((copy) => copy.manifest !== undefined));
  const facts: Facts = {
    schema,
    survey: { ...survey, archives: own },
    believed: new Set(whole.map((copy) => copy.store.name)),
  };
  const plan: LedgerPlan = { changes: [], differences: [] };
  for (const archive of own) {
    const row = rows.find((item) => item.id === archive.id);
    if (row === undefined) addFound(facts, archive, plan);
    else compare(facts, archive, row, plan);
  }
  for (const row of rows) {
    if (!own.some((archive) => archive.id === row.id)) addLost(facts, row, plan);
  }
  if (plan.changes.length > 0) plan.changes.unshift(...(await stateChanges(db, schema)));
  return plan;
}

function change(row: { id: string; table: string }, summary: string, sql: string): Change {
  return transactionChange({
    summary: `${summary}: archive ${row.id}`,
    table: row.table,
    event: 'archive_ledger_changed',
    fields: { archive: row.id },
    steps: [quietStep(sql, 'the ledger is to say what the stores have')],
  });
}

function goodStores(archive: Surveyed): string[] {
  return archive.copies.filter((copy) => copy.manifest !== undefined).map((copy) => copy.store.name);
}

function holdOf(archive: Surveyed): string | null {
  return archive.copies.find((copy) => copy.hold !== undefined)?.hold?.reason ?? null;
}

function addFound(facts: Facts, archive: Surveyed, plan: LedgerPlan): void {
  const { manifest } = archive;
  if (manifest === undefined) return;
  const row = rowOf(archive, manifest);
  plan.differences.push(`archive ${row.id} of ${displayName(partitionOf(row))} is not in the ledger`);
  plan.changes.push(
    change(
      { id: row.id, table: displayName(tableOf(row)) },
      `record ${displayName(partitionOf(row))} as found in ${row.stores.join(', ')}`,
      insertFoundArchiveSql(facts.schema, row),
    ),
  );
}

function rowOf(archive: Surveyed, manifest: Manifest): Omit<ArchiveRow, 'message' | 'partitionOid'> {
  return {
    id: archive.id,
    tableSchema: manifest.table.schema,
    tableName: manifest.table.name,
    partitionSchema: manifest.partition.schema,
    partitionName: manifest.partition.name,
    bounds: manifest.bounds,
    upperBound: manifest.key.to,
    place: archive.copies[0]?.place ?? '',
    stores: goodStores(archive),
    state: 'verified',
    rowCount: BigInt(manifest.rows),
    storedBytes: BigInt(storedBytesOf(manifest)),
    baselineXmin: manifest.snapshot.xmin,
    hold: holdOf(archive),
    createdAt: new Date(manifest.createdAt),
    verifiedAt: new Date(manifest.createdAt),
  };
}

function compare(facts: Facts, archive: Surveyed, row: ArchiveRow, plan: LedgerPlan): void {
  const { schema } = facts;
  const at = { id: row.id, table: displayName(tableOf(row)) };
  const good = goodStores(archive);
  const hold = holdOf(archive);
  if (hold !== null && row.hold === null) {
    plan.differences.push(`archive ${row.id} is held, and the ledger does not say so`);
    plan.changes.push(change(at, 'record the hold', archiveHoldSql(schema, row.id, hold)));
  }
  if (hold === null && row.hold !== null && good.length > 0) {
    plan.differences.push(
      `archive ${row.id} is held by the ledger alone; it stays held: put hold.json back with "dbops archive hold ${row.id}", or release it`,
    );
  }
  if (row.state === 'exporting' || archive.manifest === undefined) return;
  if (row.state === 'expired' && row.stores.length > 0) {
    plan.differences.push(
      `the removal of archive ${row.id} was begun; the next "dbops archive prune" finishes it`,
    );
    return;
  }
  // Somebody brought it back, or could not be told that it was made. Past its age, it goes again.
  if (row.state === 'failed' || row.state === 'expired') {
    plan.differences.push(
      `archive ${row.id} is in ${good.join(', ')}, and the ledger had it as ${row.state}`,
    );
    plan.changes.push(
      change(
        at,
        `record it as found in ${good.join(', ')}`,
        archiveFoundSql(schema, row.id, {
          state: 'verified',
          stores: good,
          rows: BigInt(archive.manifest.rows),
          storedBytes: BigInt(storedBytesOf(archive.manifest)),
          verifiedAt: new Date(archive.manifest.createdAt),
        }),
      ),
    );
    return;
  }
  compareStores(facts, row, good, plan);
}

/** A store that was not asked, or shows nothing at all, is left as the ledger has it. */
function compareStores(facts: Facts, row: ArchiveRow, good: string[], plan: LedgerPlan): void {
  const kept = row.stores.filter((name) => good.includes(name) || !facts.believed.has(name));
  const stores = [...kept, ...good.filter((name) => !kept.includes(name))];
  const lost = row.stores.filter((name) => !good.includes(name) && facts.survey.asked.includes(name));
  if (lost.length > 0) {
    plan.differences.push(
      `archive ${row.id} has no manifest that can be read in ${lost.join(', ')}, where the ledger has a copy`,
    );
  }
  const added = good.filter((name) => !row.stores.includes(name));
  if (added.length > 0) {
    plan.differences.push(
      `archive ${row.id} is also in ${added.join(', ')}, which the ledger does not know of`,
    );
  }
  if (stores.length === row.stores.length && added.length === 0) return;
  const at = { id: row.id, table: displayName(tableOf(row)) };
  plan.changes.push(
    change(at, `record that it is in ${stores.join(', ')}`, archiveStoresSql(facts.schema, row.id, stores)),
  );
}

function addLost(facts: Facts, row: ArchiveRow, plan: LedgerPlan): void {
  if (!['verified', 'proven', 'superseded'].includes(row.state)) return;
  // Another --store than its own was asked for.
  if (!row.stores.some((name) => facts.survey.asked.includes(name))) return;
  plan.differences.push(
    `archive ${row.id} of ${displayName(partitionOf(row))} is in none of the stores that answered (the ledger has it in ${row.stores.join(', ')})`,
  );
  if (!row.stores.every((name) => facts.believed.has(name))) return;
  const at = { id: row.id, table: displayName(tableOf(row)) };
  plan.changes.push(
    change(
      at,
      'record that no store has it',
      archiveStateSql(facts.schema, row.id, 'failed', 'found in none of its stores'),
    ),
  );
}
