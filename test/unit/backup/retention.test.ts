import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RetainRules } from '../../../src/config/backup.ts';
import { momentBefore, periodOf, periodUnits } from '../../../src/backup/retention/periods.ts';
import {
  planRetention,
  removalOrder,
  type RetentionInput,
  type RetentionItem,
} from '../../../src/backup/retention/plan.ts';
import { utc, zoneOf } from '../../../src/partition/model/zone.ts';

const now = new Date('2026-11-21T12:00:00Z');

function item(id: string, moment: string | Date, over: Partial<RetentionItem> = {}): RetentionItem {
  const at = new Date(moment);
  return {
    id,
    kind: 'logical',
    group: `${over.kind ?? 'logical'} of factory`,
    moment: at,
    startedAt: at,
    parent: null,
    isVerified: false,
    ...over,
  };
}

function kept(items: RetentionItem[], rules: RetainRules, over: Partial<RetentionInput> = {}): string[] {
  return planRetention({ items, retain: { logical: rules }, zone: utc, now, ...over })
    .filter((verdict) => verdict.isKept)
    .map((verdict) => verdict.item.id);
}

/** One a day at noon, the newest first: d0 is today. */
const days = (count: number) =>
  Array.from({ length: count }, (_, back) => item(`d${back}`, new Date(now.getTime() - back * 86_400_000)));

describe('periods', () => {
  it.each([
    ['2026-01-01T00:00:00Z', '2026-W01'],
    ['2027-01-03T23:59:59Z', '2026-W53'],
    ['2027-01-04T00:00:00Z', '2027-W01'],
    ['2024-12-30T00:00:00Z', '2025-W01'],
    ['1969-12-29T00:00:00Z', '1970-W01'],
  ])('%s lies in the ISO week %s', (moment, week) => {
    expect(periodOf('weekly', new Date(moment), utc)).toBe(week);
  });

  it('begin by the clock of the zone, and the hour that is repeated counts twice', () => {
    const seoul = zoneOf('Asia/Seoul');
    expect(periodOf('daily', new Date('2026-11-20T15:00:00Z'), seoul)).toBe('2026-11-21');
    expect(periodOf('yearly', new Date('2026-12-31T15:00:00Z'), seoul)).toBe('2027');
    const berlin = zoneOf('Europe/Berlin');
    const [first, second] = ['2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z'].map((text) =>
      periodOf('hourly', new Date(text), berlin),
    );
    expect([first, second]).toEqual(['2026-10-25T02+02:00', '2026-10-25T02+01:00']);
  });

  it('a month back from its last day ends with the month', () => {
    const moment = new Date('2027-03-31T10:00:00Z');
    expect(momentBefore(moment, { months: 1, seconds: 0 }, utc).toISOString()).toBe(
      '2027-02-28T10:00:00.000Z',
    );
    expect(momentBefore(moment, { months: 12, seconds: 3600 }, utc).toISOString()).toBe(
      '2026-03-31T09:00:00.000Z',
    );
  });
});

describe('rules', () => {
  it('last and within', () => {
    expect(kept(days(10), { last: 3 })).toEqual(['d0', 'd1', 'd2']);
    expect(kept(days(10), { within: { months: 0, seconds: 2 * 86_400 } })).toEqual(['d0', 'd1', 'd2']);
  });

  it('grandfather, father, son: the newest of each of the last periods that have one', () => {
    const all = planRetention({
      items: days(100),
      retain: { logical: { daily: 3, weekly: 2, monthly: 3 } },
      zone: utc,
      now,
    }).filter((verdict) => verdict.isKept);
    // 21 November 2026 is a Saturday: the newest of the week before is of Sunday the 15th.
    expect(all.map(({ item: { id } }) => id)).toEqual(['d0', 'd1', 'd2', 'd6', 'd21', 'd52']);
    expect(all.map(({ why }) => why.join('; '))).toEqual([
      'daily 3: 2026-11-21; weekly 2: 2026-W47; monthly 3: 2026-11; the newest good one',
      'daily 3: 2026-11-20',
      'daily 3: 2026-11-19',
      'weekly 2: 2026-W46',
      'monthly 3: 2026-10',
      'monthly 3: 2026-09',
    ]);
  });

  it('periods without a backup do not count', () => {
    const items = [
      item('a', '2026-11-20T00:00:00Z'),
      item('b', '2026-03-01T00:00:00Z'),
      item('c', '2025-01-01T00:00:00Z'),
    ];
    expect(kept(items, { daily: 2 })).toEqual(['a', 'b']);
  });

  it('a kind without rules is kept for ever', () => {
    const items = days(3).map((one) => ({ ...one, kind: 'schema' as const }));
    expect(kept(items, { last: 1 })).toEqual(['d0', 'd1', 'd2']);
  });

  it('groups do not count for each other', () => {
    const other = days(3).map((one) => ({ ...one, id: `${one.id}-b`, group: 'logical of billing' }));
    expect(kept([...days(3), ...other], { last: 1 })).toEqual(['d0', 'd0-b']);
  });
});

describe('what is never removed', () => {
  it('the newest good and the newest verified one, however old', () => {
    const items = [
      item('a', '2026-01-03T00:00:00Z'),
      item('b', '2026-01-02T00:00:00Z', { isVerified: true }),
      item('c', '2026-01-01T00:00:00Z', { isVerified: true }),
    ];
    expect(kept(items, { hourly: 1 })).toEqual(['a', 'b']);
  });

  it('a good one for a damaged one that is newer', () => {
    const damaged = { damage: 'a file is missing' };
    const items = [item('a', '2026-11-20T00:00:00Z', damaged), ...days(30).slice(5)];
    expect(kept(items, { last: 2 })).toEqual(['a', 'd5', 'd6']);
    // Of damaged ones alone the newest stays.
    expect(kept([item('a', '2026-01-01T00:00:00Z', damaged)], { within: { months: 0, seconds: 1 } })).toEqual(
      ['a'],
    );
  });

  it('nothing for a backup from the future, which stays', () => {
    const items = [item('f', '2036-01-01T00:00:00Z'), ...days(4)];
    expect(kept(items, { last: 2 })).toEqual(['f', 'd0', 'd1']);
  });

  it('one whose removal was begun takes no place, and stays where a rule keeps it', () => {
    const [first, second, third] = days(3) as [RetentionItem, RetentionItem, RetentionItem];
    expect(kept([first, { ...second, isGoing: true }, third], { last: 2 })).toEqual(['d0', 'd1', 'd2']);
    expect(kept([first, second, { ...third, isGoing: true }], { last: 2 })).toEqual(['d0', 'd1']);
    expect(kept([{ ...third, isGoing: true, isVerified: true }], { daily: 1 })).toEqual(['d2']);
  });

  it('anything by a window in which nothing good was made', () => {
    const within = { months: 0, seconds: 2 * 86_400 };
    const old = days(6).slice(3);
    expect(kept(old, { within })).toEqual(['d3', 'd4', 'd5']);
    expect(kept([item('bad', now, { damage: 'gone' }), ...old], { within })).toHaveLength(4);
    expect(kept(days(6), { within }, { now: new Date('2046-11-21T12:00:00Z') })).toHaveLength(6);
  });

  it('the physical one before a window, from which its beginning is reached', () => {
    const within = { months: 0, seconds: 2 * 86_400 - 1 };
    const base = (kind: 'base' | 'pgbackrest') =>
      planRetention({
        items: days(6).map((one) => ({ ...one, kind })),
        retain: { [kind]: { within } },
        zone: utc,
        now,
      }).filter((verdict) => verdict.isKept);
    expect(base('base').map((verdict) => verdict.item.id)).toEqual(['d0', 'd1', 'd2']);
    expect(base('pgbackrest')).toHaveLength(3);
  });

  it('what is pinned, and all of a group that is blocked', () => {
    const items = days(4).map((one) => (one.id === 'd3' ? { ...one, pinned: 'held' } : one));
    expect(kept(items, { last: 1 })).toEqual(['d0', 'd3']);
    expect(kept(items, { last: 1 }, { whyBlocked: () => 'the newest attempt failed' })).toHaveLength(4);
  });

  it('what a kept one builds on, through the whole chain; incrementals take no place of a base', () => {
    const inc = { kind: 'incremental' as const };
    const items = [
      item('b1', '2026-10-01T00:00:00Z', { kind: 'base' }),
      item('i1', '2026-10-02T00:00:00Z', { ...inc, parent: 'b1' }),
      item('i2', '2026-10-03T00:00:00Z', { ...inc, parent: 'i1' }),
      item('b2', '2026-11-01T00:00:00Z', { kind: 'base' }),
      item('b3', '2026-11-20T00:00:00Z', { kind: 'base' }),
    ];
    const retain = { base: { last: 1 }, incremental: { last: 1 } };
    const verdicts = planRetention({ items, retain, zone: utc, now });
    expect(verdicts.filter((one) => !one.isKept).map((one) => one.item.id)).toEqual(['b2']);
    expect(verdicts[0]?.why).toEqual(['i2 builds on it']);
    expect(verdicts[1]?.why).toEqual(['i2 builds on it']);
  });
});

const kinds = ['base', 'incremental', 'logical'] as const;
const rulesOf = fc.record(
  {
    last: fc.integer({ min: 1, max: 5 }),
    within: fc.record({
      months: fc.integer({ min: 0, max: 2 }),
      seconds: fc.integer({ min: 0, max: 900_000 }),
    }),
    hourly: fc.integer({ min: 1, max: 5 }),
    daily: fc.integer({ min: 1, max: 5 }),
    weekly: fc.integer({ min: 1, max: 5 }),
    monthly: fc.integer({ min: 1, max: 5 }),
    yearly: fc.integer({ min: 1, max: 5 }),
  },
  { requiredKeys: [] },
);
/** Backups of a year; an incremental builds on any older base or incremental. */
const itemsOf = fc
  .array(
    fc.record({
      kind: fc.constantFrom(...kinds),
      hoursAgo: fc.integer({ min: -48, max: 9000 }),
      parent: fc.nat(),
      isDamaged: fc.boolean(),
      isVerified: fc.boolean(),
      isHeld: fc.integer({ min: 0, max: 9 }),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((list) => {
    const sorted = [...list].sort((a, b) => b.hoursAgo - a.hoursAgo);
    const made: RetentionItem[] = [];
    for (const [index, one] of sorted.entries()) {
      const parents = made.filter((other) => other.kind !== 'logical');
      const parent =
        one.kind === 'incremental' ? parents[one.parent % Math.max(parents.length, 1)] : undefined;
      made.push(
        item(`n${index}`, new Date(now.getTime() - one.hoursAgo * 3_600_000), {
          kind: one.kind,
          parent: parent?.id ?? null,
          damage: one.isDamaged ? 'bad' : undefined,
          isVerified: one.isVerified && !one.isDamaged,
          pinned: one.isHeld === 0 ? 'held' : undefined,
        }),
      );
    }
    return made;
  });
const inputs = fc
  .record({
    items: itemsOf,
    retain: fc.record({ base: rulesOf, incremental: rulesOf, logical: rulesOf }, { requiredKeys: [] }),
    zone: fc.constantFrom(utc, zoneOf('Asia/Seoul'), zoneOf('America/St_Johns')),
  })
  .map((input): RetentionInput => ({ ...(input as Pick<RetentionInput, 'items' | 'retain' | 'zone'>), now }));

describe('for all backups and all rules', () => {
  const idsOf = (input: RetentionInput) =>
    new Set(
      planRetention(input)
        .filter((one) => one.isKept)
        .map((one) => one.item.id),
    );

  it('nothing that is kept misses what it builds on, and nothing pinned goes', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const ids = idsOf(input);
        for (const one of input.items) {
          if (one.pinned !== undefined) expect(ids).toContain(one.id);
          if (ids.has(one.id) && one.parent !== null) expect(ids).toContain(one.parent);
        }
      }),
    );
  });

  it('each group that has a good one keeps its newest good one and its newest verified one', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const ids = idsOf(input);
        for (const kind of kinds) {
          const past = input.items.filter((one) => one.kind === kind && one.moment <= now);
          const good = past.filter((one) => one.damage === undefined);
          const newest = (list: RetentionItem[]) =>
            list.reduce((a, b) => (b.moment.getTime() >= a.moment.getTime() ? b : a));
          if (past.length > 0) expect(past.some((one) => ids.has(one.id))).toBe(true);
          if (good.length > 0)
            expect(good.some((one) => ids.has(one.id) && one.moment >= newest(good).moment)).toBe(true);
          const verified = good.filter((one) => one.isVerified);
          if (verified.length > 0)
            expect(verified.some((one) => ids.has(one.id) && one.moment >= newest(verified).moment)).toBe(
              true,
            );
        }
      }),
    );
  });

  it('the order of the list means nothing, and a plan that was carried out has nothing left to do', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const ids = idsOf(input);
        expect(idsOf({ ...input, items: [...input.items].reverse() })).toEqual(ids);
        const rest = input.items.filter((one) => ids.has(one.id));
        // What is damaged loses its place to nobody, so that good ones stay as they are.
        const again = idsOf({ ...input, items: rest });
        expect(rest.filter((one) => one.damage === undefined && !again.has(one.id))).toEqual([]);
      }),
    );
  });

  it('a rule never keeps more of a group than it says', () => {
    fc.assert(
      fc.property(
        inputs,
        fc.constantFrom(...periodUnits),
        fc.integer({ min: 1, max: 5 }),
        (input, unit, count) => {
          const verdicts = planRetention({
            ...input,
            retain: { base: { [unit]: count }, incremental: { [unit]: count }, logical: { [unit]: count } },
          });
          for (const kind of kinds) {
            const byRule = verdicts.filter(
              ({ item: one, why }) =>
                one.kind === kind && one.damage === undefined && why.some((text) => text.startsWith(unit)),
            );
            expect(byRule.length).toBeLessThanOrEqual(count);
          }
        },
      ),
    );
  });

  it('what builds on others is removed before them', () => {
    fc.assert(
      fc.property(itemsOf, (items) => {
        const order = removalOrder(items).map((one) => one.id);
        expect(order).toHaveLength(items.length);
        for (const one of items)
          if (one.parent !== null) expect(order.indexOf(one.id)).toBeLessThan(order.indexOf(one.parent));
      }),
    );
  });
});
