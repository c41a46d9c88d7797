import type { BackupKind, RetainRules } from '../../config/backup.ts';
import { formatDuration } from '../../config/duration.ts';
import type { Zone } from '../../partition/model/zone.ts';
import { momentBefore, periodOf, periodUnits } from './periods.ts';

/** A backup as retention looks at it. All are of one cluster: those of others are none of its business. */
export interface RetentionItem {
  id: string;
  kind: BackupKind;
  /** Backups of one group take each other's place; see groupOf(). */
  group: string;
  /** What a restore brings back. */
  moment: Date;
  startedAt: Date;
  /** The backup that it builds on. */
  parent: string | null;
  /** Why it cannot be restored, as far as that is known; undefined: nothing is known against it. */
  damage?: string | undefined;
  /** Whether a copy was read back whole and found good. */
  isVerified: boolean;
  /** Whether a run has begun to remove it, and has not got to any of its copies that are left. */
  isGoing?: boolean | undefined;
  /** Why it stays whatever the rules say: a hold, a drill that reads it. */
  pinned?: string | undefined;
}

export interface RetentionInput {
  items: RetentionItem[];
  retain: Partial<Record<BackupKind, RetainRules>>;
  zone: Zone;
  now: Date;
  /** Why nothing of a group goes: its newest attempt failed, a store cannot be asked. Undefined: it may. */
  whyBlocked?: ((item: RetentionItem) => string | undefined) | undefined;
}

/** What becomes of a backup, and why. */
export interface Verdict {
  item: RetentionItem;
  isKept: boolean;
  /** What keeps it, each a reason of its own; of one that goes, why. */
  why: string[];
}

/** Kinds that WAL is replayed onto: what `within` promises is reached from the one before it only. */
const replayed: readonly BackupKind[] = ['base', 'incremental', 'snapshot', 'pgbackrest'];

/** Clocks of two hosts are never quite the same. */
const clockToleranceMs = 5 * 60_000;

/**
 * Which backups are kept, in the order of the items. Rules look at one group alone and in the order of time. What is known
 * to be damaged, or about to go, takes no place of a good one, and goes only when the rules would not keep it if it were good.
 * Beside what rules keep there stay: what a kept one builds on, the newest good one and the newest verified one of each group,
 * what is pinned, what lies in the future, and all of a group that is blocked or has nothing good left `within` its rule: then
 * nothing is made any more, or a clock has jumped. Pure.
 */
export function planRetention(input: RetentionInput): Verdict[] {
  const reasons = new Map<string, string[]>(input.items.map((item) => [item.id, []]));
  const keep = (item: RetentionItem, why: string) => reasons.get(item.id)?.push(why);
  for (const group of groupsOf(input.items)) keepInGroup(input, group, keep);
  keepParents(input.items, reasons);
  return input.items.map((item) => {
    const why = reasons.get(item.id) ?? [];
    return why.length > 0
      ? { item, isKept: true, why }
      : {
          item,
          isKept: false,
          why: [
            `no rule of retain.${item.kind} keeps it: ${describeRules(input.retain[item.kind])}` +
              (item.damage === undefined ? '' : `; it is damaged: ${item.damage}`),
          ],
        };
  });
}

type Keep = (item: RetentionItem, why: string) => void;

/** Newest first. */
function groupsOf(items: RetentionItem[]): RetentionItem[][] {
  const groups = new Map<string, RetentionItem[]>();
  for (const item of items) groups.set(item.group, [...(groups.get(item.group) ?? []), item]);
  return [...groups.values()].map((group) =>
    group.sort((a, b) => b.moment.getTime() - a.moment.getTime() || (a.id < b.id ? 1 : -1)),
  );
}

function keepInGroup(input: RetentionInput, group: RetentionItem[], keep: Keep): void {
  const { now, retain, whyBlocked } = input;
  const isFuture = (item: RetentionItem) => item.moment.getTime() > now.getTime() + clockToleranceMs;
  for (const item of group) {
    const blocked = whyBlocked?.(item);
    if (blocked !== undefined) keep(item, blocked);
    if (item.pinned !== undefined) keep(item, item.pinned);
    if (isFuture(item)) keep(item, `its time, ${item.moment.toISOString()}, lies in the future`);
    if (retain[item.kind] === undefined) keep(item, `there is no rule for ${item.kind}`);
  }
  const counted = group.filter((item) => !isFuture(item));
  const sound = counted.filter((item) => item.damage === undefined);
  const good = sound.filter((item) => item.isGoing !== true);
  applyRules(input, good, keep);
  applyRules(input, counted, (item, why) => {
    if (!good.includes(item)) keep(item, why);
  });
  keepWithoutNew(input, group, good, keep);
  for (const newest of new Set([...good.slice(0, 1), ...sound.slice(0, 1)]))
    keep(newest, 'the newest good one');
  const verified = [good, sound].map((items) => items.find((item) => item.isVerified));
  for (const newest of new Set(verified)) if (newest !== undefined) keep(newest, 'the newest verified one');
  // Where none is known to be good the newest may still be all that there is.
  const [last] = counted;
  if (sound.length === 0 && last !== undefined) keep(last, 'the newest, and none is known to be good');
}

/** A window says how long what is replaced by newer ones stays: where none are made, time alone removes nothing. */
function keepWithoutNew(
  { retain, now, zone }: RetentionInput,
  group: RetentionItem[],
  good: RetentionItem[],
  keep: Keep,
): void {
  const within = group[0] === undefined ? undefined : retain[group[0].kind]?.within;
  if (within === undefined) return;
  const since = momentBefore(now, within, zone);
  if (good.some((item) => item.moment >= since)) return;
  for (const item of group) keep(item, `no good one is within ${formatDuration(within)}`);
}

/** `group` is sorted, newest first. */
function applyRules(input: RetentionInput, group: RetentionItem[], keep: Keep): void {
  const { retain, now, zone } = input;
  const rules = group[0] === undefined ? undefined : retain[group[0].kind];
  if (rules === undefined) return;
  group.slice(0, rules.last ?? 0).forEach((item) => keep(item, `last ${String(rules.last)}`));
  const { within } = rules;
  if (within !== undefined) {
    const since = momentBefore(now, within, zone);
    for (const item of group) if (item.moment >= since) keep(item, `within ${formatDuration(within)}`);
    const older = group.find((item) => item.moment < since);
    if (older !== undefined && replayed.includes(older.kind))
      keep(older, `the whole of ${formatDuration(within)} is reached from it`);
  }
  for (const unit of periodUnits) {
    const count = rules[unit] ?? 0;
    const periods = new Set<string>();
    for (const item of group) {
      const period = periodOf(unit, item.moment, zone);
      if (periods.has(period) || periods.size >= count) continue;
      periods.add(period);
      keep(item, `${unit} ${String(count)}: ${period}`);
    }
  }
}

/** A kept backup needs its parent, and that one its own. */
function keepParents(items: RetentionItem[], reasons: Map<string, string[]>): void {
  const byId = new Map(items.map((item) => [item.id, item]));
  for (const item of items) {
    if (reasons.get(item.id)?.length === 0) continue;
    const seen = new Set([item.id]);
    for (let { parent } = item; parent !== null && !seen.has(parent);) {
      seen.add(parent);
      const why = `${item.id} builds on it`;
      const known = reasons.get(parent);
      if (known?.some((text) => text.endsWith('builds on it')) === false) known.push(why);
      parent = byId.get(parent)?.parent ?? null;
    }
  }
}

/** Rules for people: "last 2, within 30 days, daily 7". */
export function describeRules(rules: RetainRules | undefined): string {
  if (rules === undefined) return 'kept for ever';
  const texts: string[] = [];
  if (rules.last !== undefined) texts.push(`last ${String(rules.last)}`);
  if (rules.within !== undefined) texts.push(`within ${formatDuration(rules.within)}`);
  for (const unit of periodUnits) if (rules[unit] !== undefined) texts.push(`${unit} ${String(rules[unit])}`);
  return texts.join(', ');
}

/**
 * In which order backups that go are removed: what builds on others first, so that an end in the middle leaves none whose
 * parent is gone. Pure.
 */
export function removalOrder<Item extends { id: string; parent: string | null }>(items: Item[]): Item[] {
  const byId = new Map(items.map((item) => [item.id, item]));
  const depth = (item: Item): number => {
    const seen = new Set<string>();
    let current: Item | undefined = item;
    while (current !== undefined && current.parent !== null && !seen.has(current.id)) {
      seen.add(current.id);
      current = byId.get(current.parent);
    }
    return seen.size;
  };
  return [...items].sort((a, b) => depth(b) - depth(a));
}
