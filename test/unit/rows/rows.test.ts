import { describe, expect, it } from 'vitest';
import { parseOlderThan } from '../../../src/config/older-than.ts';
import { defaultRowsLimits, type RowsDefinition } from '../../../src/config/rows.ts';
import { parseSize } from '../../../src/config/size.ts';
import { nextSize } from '../../../src/plan/batch-size.ts';
import { compareColumns } from '../../../src/rows/archive-table.ts';
import { tooFarBehind } from '../../../src/rows/pressure.ts';
import { defaultName, firstCursor, hashOf, refresh, withWindow } from '../../../src/rows/spec.ts';
import { clockIn, readSql } from '../../../src/rows/sql-text.ts';
import { advance } from '../../../src/rows/walk.ts';
import { placeBehind } from '../../../src/rows/window.ts';
import { batchScript, type Stretch } from '../../../src/sql/rows-batch.ts';
import type { RowsColumn } from '../../../src/sql/rows-table.ts';

describe('what is typed', () => {
  it.each([
    ['published_at 7 days', 'published_at', 7 * 86_400],
    ['  strange "name"  x 2h ', 'strange "name"  x', 7200],
  ])('an age: %s', (text, column, seconds) => {
    expect(parseOlderThan(text)).toEqual({ column, age: { months: 0, seconds } });
  });

  it.each(['7 days', 'at', 'at 0 days', 'at 7', 'at 1.5 months', ''])('no age: %s', (text) => {
    expect(parseOlderThan(text)).toBeUndefined();
  });

  it('sizes are powers of 1024', () => {
    expect(parseSize('10 GB')).toBe(10 * 2 ** 30);
    expect(parseSize('1.5kb')).toBe(1536);
    expect(parseSize('10')).toBeUndefined();
    expect(parseSize('10 XB')).toBeUndefined();
  });
});

describe('the text of a condition', () => {
  it('is read without what stands in strings, comments and quotes', () => {
    const text = readSql(
      `a = 'be now()' and E'it\\'s random()' <> b -- now()\n and "Now"(c) and $x$ $1 $x$ > /* $1 */ lower (d)`,
    );
    expect(text.words.filter((word) => word.isCall).map((word) => word.name)).toEqual(['Now', 'lower']);
    expect(text.hasParameters).toBe(false);
    expect(text.strings).toEqual(['be now()', "it\\'s random()", ' $1 ']);
    expect(clockIn(text)).toBeUndefined();
  });

  it.each([
    ["at < now() - interval '1 day'", 'now'],
    ['d < CURRENT_DATE', 'current_date'],
    ["at < 'today'", 'today'],
    ["at < ' Today 00:00'", ' Today 00:00'],
    ["at < 'now'::timestamptz", 'now'],
    ['at < pg_catalog."now"()', 'now'],
    ['at < now /* it is */ ()', 'now'],
    ['age /* of */ -- it\n (at) > x', 'age'],
    ['age(at) > x', 'age'],
  ])('asks for the time: %s', (text, found) => {
    expect(clockIn(readSql(text))).toBe(found);
  });

  it('may have a column called age, and no parameters', () => {
    expect(clockIn(readSql('age > 3'))).toBeUndefined();
    expect(clockIn(readSql(`"now" > 3 and note = 'nowhere'`))).toBeUndefined();
    expect(readSql('a /* x */ and /* y */ (b)').words.filter((word) => word.isCall)).toMatchObject([
      { name: 'and' },
    ]);
    expect(readSql('random/* /* */ */()').words).toMatchObject([{ name: 'random', isCall: true }]);
    expect(readSql('random /**/ ()').words).toEqual([{ name: 'random', isCall: true, isQuoted: false }]);
    expect(readSql('a = $1').hasParameters).toBe(true);
  });
});

describe('a job', () => {
  const definition: RowsDefinition = {
    verb: 'mask',
    table: 'public.users',
    olderThan: { column: 'at', age: { months: 12, seconds: 0 } },
    where: undefined,
    to: undefined,
    create: false,
    set: { email: 'null', a: 'null' },
    cascade: false,
    timezone: 'UTC',
  };

  it('is the same job in whatever order jsonb gives its keys back, and another with another condition', () => {
    const stored: RowsDefinition = {
      ...definition,
      olderThan: { age: { seconds: 0, months: 12 }, column: 'at' },
      set: { a: 'null', email: 'null' },
    };
    expect(hashOf(stored)).toBe(hashOf(definition));
    expect(hashOf({ ...definition, where: 'true' })).not.toBe(hashOf(definition));
    expect(defaultName({ ...definition, table: 'a.b c\n' })).toMatch(/^mask-a\.b_c_-[0-9a-f]{8}$/);
  });

  it('keeps windows with locked rows, joined where they touch, and not more than a few', () => {
    const window = (after: string[] | null, upto: string[]): Stretch => ({ leaf: 0, after, upto });
    const two = withWindow([window(null, ['5'])], window(['5'], ['9']));
    expect(two).toEqual([window(null, ['9'])]);
    expect(withWindow(two, window(['20'], ['30']))).toHaveLength(2);
    expect(withWindow(two, window(['20'], ['30']), 1)).toEqual([window(null, ['30'])]);
  });

  it('moves its cursor to the end of the window, and to the next stretch at the end of this one', () => {
    const stretch: Stretch = { leaf: 0, after: null, upto: ['9'] };
    const middle = advance(firstCursor, stretch, { ...stretch, upto: ['4'] }, { hits: 3, changed: 2 });
    expect(middle).toMatchObject({
      at: 0,
      after: ['4'],
      changed: 2,
      skipped: 1,
      again: [{ leaf: 0, after: null, upto: ['4'] }],
    });
    const end = advance(
      middle,
      { ...stretch, after: ['4'] },
      { ...stretch, after: ['4'] },
      { hits: 1, changed: 1 },
    );
    expect(end).toMatchObject({ at: 1, after: null, changed: 3, skipped: 1 });
    const again = advance(
      { ...end, pass: 2, at: 0 },
      stretch,
      { ...stretch, upto: ['4'] },
      { hits: 1, changed: 0 },
    );
    expect(again).toMatchObject({ left: 1, skipped: 1 });
  });

  it('fits itself to tables that are gone or were rewritten', () => {
    const leaf = (oid: number, file: number) => ({ oid, schema: 's', name: `t${oid}`, file });
    const spec = {
      leaves: [leaf(1, 10), leaf(2, 20), leaf(3, 30)],
      stretches: [
        { leaf: 0, after: 0, upto: 100 },
        { leaf: 1, after: 0, upto: 100 },
        { leaf: 2, after: null, upto: ['7'] },
      ],
    };
    const fitted = refresh(spec, { ...firstCursor, at: 1, after: 50 }, [
      { ...leaf(2, 21), blocks: 8 },
      { ...leaf(3, 31), blocks: 8 },
    ]);
    expect(fitted.gone).toEqual(['s.t1']);
    expect(fitted.rewritten).toEqual(['s.t2']);
    expect(fitted.stretches).toEqual([
      { leaf: 0, after: 0, upto: 0 },
      { leaf: 1, after: 0, upto: 8 },
      { leaf: 2, after: null, upto: ['7'] },
    ]);
    expect(fitted.cursor.after).toBeNull();
  });

  it('walks a rewritten table once more, not once for each remembered window', () => {
    const leaf = (oid: number, file: number) => ({ oid, schema: 's', name: `t${oid}`, file });
    const spec = {
      leaves: [leaf(1, 10), leaf(2, 20)],
      stretches: [
        { leaf: 0, after: 0, upto: 100 },
        { leaf: 1, after: 0, upto: 100 },
      ],
    };
    const window = (index: number, after: number): Stretch => ({ leaf: index, after, upto: after + 1 });
    const again = [window(0, 3), window(0, 5), window(1, 3), window(1, 7)];
    const rewritten = [
      { ...leaf(1, 11), blocks: 8 },
      { ...leaf(2, 20), blocks: 100 },
    ];
    const second = refresh(spec, { ...firstCursor, pass: 2, at: 1, after: 5, again }, rewritten);
    expect(second.cursor).toMatchObject({ at: 0, after: null });
    expect(second.cursor.again).toEqual([{ leaf: 0, after: 0, upto: 8 }, window(1, 3), window(1, 7)]);
    const first = refresh(spec, { ...firstCursor, at: 0, after: 9, again }, rewritten);
    expect(first.cursor).toMatchObject({ at: 0, after: null, again: [window(1, 3), window(1, 7)] });
  });
});

describe('a batch', () => {
  const shape = {
    verb: 'purge' as const,
    keys: [
      { name: 'a', type: 'integer' },
      { name: 'b', type: 'bpchar' },
    ],
    condition: 'x',
  };

  it('is bounded by the key, in a comparison of rows', () => {
    const sql = batchScript(
      shape,
      { schema: 's', name: 't"' },
      { leaf: 0, after: ['1', "it's"], upto: ['9', 'z'] },
    );
    expect(sql).toContain(
      `only s."t""" as t where (t.a, t.b) > ('1'::integer, 'it''s'::bpchar) and (t.a, t.b) <= `,
    );
    expect(sql).toContain('case when (x\n) then true else false end');
  });

  it('or by blocks', () => {
    const sql = batchScript(shape, { schema: 's', name: 't' }, { leaf: 0, after: 5, upto: 25 });
    expect(sql).toContain("t.ctid >= '(5,0)'::pg_catalog.tid and t.ctid < '(25,0)'::pg_catalog.tid");
  });

  it('of few rows is a piece of a block, and the pieces leave nothing out', () => {
    expect(placeBehind(5, 1000)).toBe(25);
    expect(placeBehind(5.5, 1000)).toBe(25);
    const places = [5];
    while (places.at(-1)! < 6) places.push(placeBehind(places.at(-1)!, 10));
    expect(places).toHaveLength(31);
    const kept = JSON.parse(JSON.stringify(places)) as number[];
    const sql = batchScript(shape, { schema: 's', name: 't' }, { leaf: 0, after: kept[1]!, upto: kept[2]! });
    expect(sql).toContain("t.ctid >= '(5,10)'::pg_catalog.tid and t.ctid < '(5,20)'::pg_catalog.tid");
    expect(kept.at(-1)).toBe(6);
  });

  it('grows by at most 1.2 and shrinks by at most half', () => {
    expect(nextSize(1000, 5, 50_000)).toBe(1200);
    expect(nextSize(1000, 150, 50_000)).toBe(1000);
    expect(nextSize(1000, 500, 50_000)).toBe(500);
    expect(nextSize(1000, 9000, 50_000)).toBe(500);
    expect(nextSize(49_000, 5, 50_000)).toBe(50_000);
  });
});

describe('what falls behind', () => {
  const calm = {
    replica: null,
    replicaLagSeconds: null,
    slot: null,
    slotBacklogBytes: null,
    archiveBacklogBytes: null,
    hiddenReplicas: 0,
  };

  it('is told with its limit and its flag', () => {
    expect(tooFarBehind(calm, defaultRowsLimits)).toBeUndefined();
    expect(tooFarBehind({ ...calm, replica: 'b', replicaLagSeconds: 31 }, defaultRowsLimits)).toBe(
      'standby b is 31 s behind, and the limit is 30 s (--max-replica-lag)',
    );
    expect(tooFarBehind({ ...calm, slot: 'slot s', slotBacklogBytes: 2 ** 40 }, defaultRowsLimits)).toContain(
      'slot s holds back 1.0 TB',
    );
    expect(tooFarBehind({ ...calm, archiveBacklogBytes: 2 ** 40 }, defaultRowsLimits)).toContain(
      'wait for the archive',
    );
  });
});

describe('the columns of an archive table', () => {
  const column = (name: string, type: string, more: Partial<RowsColumn> = {}): RowsColumn => ({
    name,
    type,
    castType: type,
    notNull: false,
    hasDefault: false,
    generated: '',
    identity: '',
    isCollated: false,
    isToasted: false,
    ...more,
  });

  it('may be more, when they need no value, and must have the same types', () => {
    const source = { columns: [column('a', 'integer'), column('b', 'character varying(5)')] };
    expect(compareColumns(source, { columns: [...source.columns, column('c', 'text')] })).toEqual([]);
    expect(
      compareColumns(source, {
        columns: [column('b', 'character varying(4)'), column('c', 'text', { notNull: true })],
      }),
    ).toEqual([
      'a is missing',
      'b is character varying(4) there and character varying(5) here',
      'c needs a value there, and there is no such column here',
    ]);
  });

  it('must not be generated where the values come as they are', () => {
    const source = { columns: [column('a', 'integer')] };
    const target = { columns: [column('a', 'integer', { generated: 's' })] };
    expect(compareColumns(source, target)).toEqual([
      'a is generated there, so the value of here would be lost',
    ]);
    expect(compareColumns(target, target)).toEqual([]);
  });
});
