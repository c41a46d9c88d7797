import type { RetainRules, BackupKind } from '../../config/backup.ts';
import type { Zone } from '../../partition/model/zone.ts';
import type { BackupRow } from '../../sql/backups.ts';
import { factsOf, groupOf, tablesOf } from '../catalogue/facts.ts';
import { newestDrill } from '../catalogue/find.ts';
import { partsOfBackupPlace, type SurveyedBackup } from '../catalogue/survey.ts';
import { planRetention, type RetentionItem } from '../retention/plan.ts';

/** A backup on one line. */
export interface BackupLine {
  id: string;
  /** "archive" for an archived partition. */
  kind: string;
  /** What it is of, such as "logical of factory". */
  of: string;
  /** Null in a listing of one cluster. */
  system: string | null;
  state: string;
  /** What a restore brings back; null: not known. */
  moment: Date | null;
  storedBytes: number | null;
  copies: { store: string; problem: string | null; verifiedAt: Date | null }[];
  /** Configured stores that lack a copy. */
  missing: string[];
  parent: string | null;
  /** WAL that it needs. */
  needs: string | null;
  verifiedAt: Date | null;
  drilledAt: Date | null;
  drillPassed: boolean | null;
  hold: string | null;
  /** What keeps it from being pruned; empty: nothing does. */
  keptBy: string[];
  message: string | null;
}

/** By which rules lines are kept, and where their copies should be. */
export interface ListPolicy {
  retain: Partial<Record<BackupKind, RetainRules>>;
  zone: Zone;
  now: Date;
  /** Names of the stores that get a copy, and in how many of them one must be. */
  copies: string[];
  required: number;
}

/** The backups that a ledger has. Asks no store. */
export function linesOfRows(rows: BackupRow[], policy: ListPolicy): BackupLine[] {
  const lines = rows.map((row): BackupLine => ({
    id: row.id,
    kind: row.kind,
    of: groupOf(row),
    system: null,
    state: row.state === 'removed' && row.stores.length > 0 ? 'being removed' : row.state,
    moment: row.moment ?? row.startedAt,
    storedBytes: row.storedBytes === null ? null : Number(row.storedBytes),
    copies:
      row.state === 'done' ? row.stores.map((store) => ({ store, problem: null, verifiedAt: null })) : [],
    missing: row.state === 'done' ? missingIn(row.stores, policy) : [],
    parent: row.parent,
    needs: row.needs,
    verifiedAt: row.verifiedAt,
    drilledAt: row.drilledAt,
    drillPassed: row.drillPassed,
    hold: row.hold,
    keptBy: [],
    message: row.message,
  }));
  addKeepers(lines, policy);
  return lines;
}

/** The backups of a survey, of whatever cluster and database; without a database at hand that is all there is to know. */
export function linesOfSurvey(backups: SurveyedBackup[], policy: ListPolicy): BackupLine[] {
  const lines = backups.map((backup): BackupLine => {
    const { manifest, copies } = backup;
    const { system } = partsOfBackupPlace(copies[0]?.place ?? '');
    const good = copies.filter((copy) => copy.manifest !== undefined && copy.verified?.passed === true);
    const drill = newestDrill(copies.flatMap((copy) => (copy.drill === undefined ? [] : [copy.drill])));
    const facts = manifest === undefined ? undefined : factsOf(manifest);
    return {
      id: backup.id,
      kind: manifest?.kind ?? 'unknown',
      of: manifest === undefined ? 'unknown' : groupOf({ ...manifest, tables: tablesOf(manifest) }),
      system: manifest?.server.systemIdentifier ?? system,
      state: stateOf(backup),
      moment: facts?.moment ?? null,
      storedBytes: facts?.storedBytes ?? null,
      copies: copies.map(({ store, problem, verified }) => ({
        store: store.name,
        problem:
          problem?.message ?? (verified?.passed === false ? (verified.problems[0] ?? 'damaged') : null),
        verifiedAt: verified?.passed === true ? new Date(verified.at) : null,
      })),
      missing: missingIn(
        copies.filter((copy) => copy.hasManifest).map((copy) => copy.store.name),
        policy,
      ),
      parent: facts?.parent ?? null,
      needs: facts?.needs ?? null,
      verifiedAt: newest(good.map((copy) => new Date(copy.verified?.at ?? ''))),
      drilledAt: drill === undefined ? null : new Date(drill.at),
      drillPassed: drill?.passed ?? null,
      hold: copies.find((copy) => copy.hold !== undefined)?.hold?.reason ?? null,
      keptBy: [],
      message: null,
    };
  });
  addKeepers(lines, policy);
  return lines;
}

function stateOf(backup: SurveyedBackup): string {
  if (backup.copies.every((copy) => !copy.hasManifest)) return 'unfinished: no manifest';
  if (backup.manifest === undefined) return 'damaged or newer';
  return backup.copies.some((copy) => copy.problem !== undefined) ? 'one copy is damaged' : 'done';
}

/** The newest of some times. */
export function newest(times: Date[]): Date | null {
  return times.reduce<Date | null>(
    (latest, time) => (latest === null || time > latest ? time : latest),
    null,
  );
}

/** A backup in fewer copies than are required lacks those of the stores that get one. */
function missingIn(stores: string[], policy: ListPolicy): string[] {
  if (policy.copies.filter((name) => stores.includes(name)).length >= policy.required) return [];
  return policy.copies.filter((name) => !stores.includes(name));
}

/** The rules look at one cluster at a time. */
function addKeepers(lines: BackupLine[], policy: ListPolicy): void {
  const clusters = new Map<string | null, BackupLine[]>();
  for (const line of lines) {
    if (line.moment === null || line.copies.length === 0) continue;
    clusters.set(line.system, [...(clusters.get(line.system) ?? []), line]);
  }
  for (const own of clusters.values()) {
    const items = own.map((line): RetentionItem => ({
      id: line.id,
      kind: line.kind as BackupKind,
      group: line.of,
      moment: line.moment ?? policy.now,
      startedAt: line.moment ?? policy.now,
      parent: line.parent,
      damage: line.copies.every((copy) => copy.problem !== null) ? 'no copy is good' : undefined,
      isVerified: line.verifiedAt !== null,
      pinned: line.hold === null ? undefined : 'held',
    }));
    for (const { item, isKept, why } of planRetention({ items, ...policy })) {
      const line = own.find((one) => one.id === item.id);
      if (line !== undefined && isKept) line.keptBy = why;
    }
  }
}
