import { DbopsError } from '../../errors.ts';
import { zoneOf } from '../../partition/model/zone.ts';
import type { BackupRow } from '../../sql/backups.ts';
import { visible } from '../../sql/quote.ts';
import type { Store, UnfinishedUpload } from '../../storage/store.ts';
import { groupOf, isPhysical, parentOf, tablesOf } from '../catalogue/facts.ts';
import { momentOf, type SurveyedBackup } from '../catalogue/survey.ts';
import type { BackupManifest } from '../manifest.ts';
import { planRetention, removalOrder, type RetentionItem, type Verdict } from '../retention/plan.ts';
import { walCutoff, type WalCutoff } from '../retention/wal.ts';
import { whyBlocked, whyWalStays, type PruneContext, type PruneFacts } from './gather.ts';
import { endedOf, planSweep } from './sweep.ts';

export interface PruneOptions {
  /** Copies in this store only. */
  store: string | undefined;
}

/** A backup that goes. */
export interface PruneTarget {
  id: string;
  parent: string | null;
  kind: string;
  manifest: BackupManifest;
  place: string;
  /** From which stores, and in which it stays. */
  stores: Store[];
  staysIn: string[];
  why: string;
}

export interface BackupPrunePlan {
  facts: PruneFacts;
  verdicts: Verdict[];
  /** What builds on others first. */
  targets: PruneTarget[];
  remains: { store: Store; place: string; id: string; row: BackupRow | undefined }[];
  /** Rows of backups whose removal was begun and that are kept, with the stores that have them. */
  revived: BackupRow[];
  /** Rows of removed backups, with the stores that may still have something of them. */
  vanished: BackupRow[];
  /** Rows of runs that ended without a word and have left nothing. */
  ended: BackupRow[];
  uploads: { store: Store; upload: UnfinishedUpload }[];
  /** Undefined: no WAL goes; `walWhy` says why. */
  cutoff: WalCutoff | undefined;
  walWhy: string;
  /** Stores that WAL and backups are removed from. */
  stores: Store[];
  notes: string[];
}

/** What becomes of every backup of this database and its cluster, of their WAL and of what killed runs left. Changes nothing. */
export async function planBackupPrune(
  context: PruneContext,
  facts: PruneFacts,
  options: PruneOptions,
): Promise<BackupPrunePlan> {
  const { settings, now } = context;
  const stores = facts.stores.filter((store) => options.store === undefined || store.name === options.store);
  const known = facts.survey.backups.flatMap((backup) =>
    backup.manifest === undefined ? [] : [{ backup, manifest: backup.manifest }],
  );
  const running = facts.isMaking ? facts.rows.find((row) => row.state === 'running') : undefined;
  const items = known.map(({ backup, manifest }) => itemOf(facts, backup, manifest, running));
  const verdicts = planRetention({
    items: withBrokenChains(items),
    retain: settings.backup.retain,
    zone: zoneOf(settings.timezone),
    now,
    whyBlocked: (item) => whyBlocked(facts, item.kind, databaseOf(known, item.id)),
  });
  const plan: BackupPrunePlan = {
    facts,
    verdicts,
    targets: [],
    remains: [],
    revived: revivedOf(facts, verdicts),
    vanished: vanishedOf(facts),
    ended: endedOf(facts),
    uploads: [],
    cutoff: undefined,
    walWhy: '',
    stores,
    notes: notesOf(facts, verdicts),
  };
  plan.targets = targetsOf(known, verdicts, stores);
  planWal(context, plan, known);
  await planSweep(context, plan);
  return plan;
}

interface Known {
  backup: SurveyedBackup;
  manifest: BackupManifest;
}

function databaseOf(known: Known[], id: string): string | null {
  return known.find(({ manifest }) => manifest.id === id)?.manifest.database ?? null;
}

function itemOf(
  facts: PruneFacts,
  backup: SurveyedBackup,
  manifest: BackupManifest,
  running: BackupRow | undefined,
): RetentionItem {
  const trouble = facts.trouble.get(backup.id) ?? new Map<string, string>();
  const good = backup.copies.filter((copy) => !trouble.has(copy.store.name));
  const startedAt = new Date(manifest.startedAt);
  return {
    id: backup.id,
    kind: manifest.kind,
    group: groupOf({ ...manifest, tables: tablesOf(manifest) }),
    moment: momentOf(manifest),
    startedAt,
    parent: parentOf(manifest),
    damage: good.length > 0 ? facts.pgbackrest.lost.get(backup.id) : [...trouble.values()][0],
    // What could not be looked at was not verified.
    isVerified: good.some((copy) => copy.verified?.passed === true && copy.verified.unknown.length === 0),
    isGoing: facts.rows.find((row) => row.id === backup.id)?.state === 'removed',
    pinned: whyPinned(facts, backup, startedAt, running),
  };
}

function whyPinned(
  facts: PruneFacts,
  backup: SurveyedBackup,
  startedAt: Date,
  running: BackupRow | undefined,
): string | undefined {
  const hold = backup.copies.find((copy) => copy.hold !== undefined)?.hold;
  const inLedger = facts.rows.find((row) => row.id === backup.id)?.hold ?? null;
  if (hold !== undefined) return `held since ${hold.at} by ${visible(hold.osUser)}: ${visible(hold.reason)}`;
  if (inLedger !== null) return `held: ${visible(inLedger)}`;
  if (facts.pins.has(backup.id)) return facts.pins.get(backup.id);
  if (facts.pgbackrest.pinned.has(backup.id)) return facts.pgbackrest.pinned.get(backup.id);
  if (running !== undefined && startedAt >= running.startedAt)
    return `younger than ${running.id}, which is being made`;
  return undefined;
}

/** What builds on a damaged or missing backup cannot be restored, and takes no place of one that can. */
function withBrokenChains(items: RetentionItem[]): RetentionItem[] {
  const byId = new Map(items.map((item) => [item.id, item]));
  const broken = (item: RetentionItem): string | undefined => {
    const seen = new Set<string>();
    let current = item;
    while (current.parent !== null && !seen.has(current.parent)) {
      seen.add(current.parent);
      const parent = byId.get(current.parent);
      if (parent === undefined) return `it builds on ${current.parent}, which is not there`;
      if (parent.damage !== undefined) return `it builds on ${parent.id}, which is damaged`;
      current = parent;
    }
    return undefined;
  };
  return items.map((item) => ({ ...item, damage: item.damage ?? broken(item) }));
}

function targetsOf(known: Known[], verdicts: Verdict[], stores: Store[]): PruneTarget[] {
  const targets = verdicts.flatMap((verdict): PruneTarget[] => {
    const one = known.find(({ backup }) => backup.id === verdict.item.id);
    if (one === undefined) return [];
    if (verdict.isKept) return [];
    const { copies } = one.backup;
    const chosen = copies.filter((copy) => stores.includes(copy.store));
    if (chosen.length === 0) return [];
    return [
      {
        id: verdict.item.id,
        parent: verdict.item.parent,
        kind: verdict.item.kind,
        manifest: one.manifest,
        place: copies[0]?.place ?? '',
        stores: chosen.map((copy) => copy.store),
        staysIn: copies.filter((copy) => !chosen.includes(copy)).map((copy) => copy.store.name),
        why: `${verdict.item.isGoing === true ? 'its removal was begun and not finished; ' : ''}${verdict.why.join('; ')}`,
      },
    ];
  });
  return removalOrder(targets);
}

/** A manifest goes first: what still has one is whole, and what is kept counts again. */
function revivedOf({ rows, survey }: PruneFacts, verdicts: Verdict[]): BackupRow[] {
  return verdicts.flatMap(({ item, isKept }) => {
    const row = rows.find((one) => one.id === item.id);
    if (!isKept || row?.state !== 'removed') return [];
    const copies = survey.backups.find((backup) => backup.id === item.id)?.copies ?? [];
    const whole = copies.filter((copy) => copy.hasManifest).map((copy) => copy.store.name);
    const unasked = row.stores.filter((name) => !survey.asked.includes(name));
    return [{ ...row, stores: [...new Set([...whole, ...unasked])] }];
  });
}

function notesOf(facts: PruneFacts, verdicts: Verdict[]): string[] {
  const notes = facts.survey.failed.map(
    ({ store, error }) => `store "${store}" cannot be asked, so that nothing goes: ${error.message}`,
  );
  for (const { item, why, isKept } of verdicts) {
    if (why.some((text) => text.includes('lies in the future')))
      notes.push(
        `backup ${item.id} is from ${item.moment.toISOString()}, which is not yet: is a clock wrong?`,
      );
    if (item.damage !== undefined) notes.push(`backup ${item.id} is damaged: ${item.damage}`);
    if (isKept && item.isGoing === true)
      notes.push(`the removal of backup ${item.id} was begun, and it is kept: ${why.join('; ')}`);
  }
  return notes;
}

/** A kill between the last deletion and the ledger leaves a row that still names a store. */
function vanishedOf({ rows, survey }: PruneFacts): BackupRow[] {
  const copies = [...survey.backups, ...survey.remains].flatMap((item) => item.copies);
  return rows.flatMap((row) => {
    if (row.state !== 'removed') return [];
    const stores = row.stores.filter(
      (name) =>
        !survey.asked.includes(name) || copies.some((copy) => copy.id === row.id && copy.store.name === name),
    );
    return stores.length === row.stores.length ? [] : [{ ...row, stores }];
  });
}

/** WAL goes where a rule lets base backups go, and no further than what is left of them needs. */
function planWal(context: PruneContext, plan: BackupPrunePlan, known: Known[]): void {
  const { facts } = plan;
  const { retain } = context.settings.backup;
  const blocked = whyWalStays(facts);
  if (retain.base === undefined) plan.walWhy = 'WAL stays: there is no rule retain.base';
  else if (blocked !== undefined) plan.walWhy = `WAL stays: ${blocked}`;
  else {
    plan.cutoff = walCutoff(survivorsOf(plan, known));
    plan.walWhy =
      plan.cutoff === undefined
        ? 'WAL stays: there is no base backup that it could be replayed onto'
        : `WAL is kept from ${plan.cutoff.startWal} on, which backup ${plan.cutoff.backup} needs first`;
  }
}

/** The physical backups that will be in some store after this run. */
function survivorsOf(plan: BackupPrunePlan, known: Known[]) {
  const gone = new Set(
    plan.targets.filter((target) => target.staysIn.length === 0).map((target) => target.id),
  );
  return known
    .filter(({ manifest }) => isPhysical(manifest.kind) && !gone.has(manifest.id))
    .map(({ manifest }) => ({
      manifest,
      isGood: plan.verdicts.find((one) => one.item.id === manifest.id)?.item.damage === undefined,
    }));
}

/** Clocks of two hosts differ by less than this, or one of them is wrong. */
const clockToleranceMs = 60 * 60_000;

/** Refuses to remove anything by a clock that another one contradicts. `hostNow` is that of this host. */
export function refuseWrongClock(serverNow: Date, hostNow: Date): void {
  if (Math.abs(serverNow.getTime() - hostNow.getTime()) <= clockToleranceMs) return;
  throw new DbopsError(
    'refused',
    `the database server says that it is ${serverNow.toISOString()}, and this host ${hostNow.toISOString()}`,
    { hint: 'Set the clock that is wrong: what is removed hangs on it.' },
  );
}
