// Which entries of a dump make a table, and what the statements of pg_dump say.
import { describe, expect, it } from 'vitest';
import { contentsOf, entriesWithNeeds } from '../../../src/backup/restore/table/contents.ts';
import { foreignKeyIn } from '../../../src/backup/restore/table/foreign-keys.ts';
import { attachIn } from '../../../src/backup/restore/table/next.ts';

/** As pg_restore -l -v of PostgreSQL 15 prints it, of a partitioned table beside others. */
const list = `;
; Archive created at 2026-11-21 23:58:11 UTC
3403; 1262 5 DATABASE - shop me
6; 2615 16384 SCHEMA - sales me
846; 1247 16386 TYPE sales state me
;	depends on: 6
223; 1255 16444 FUNCTION sales f() me
;	depends on: 6
219; 1259 16409 TABLE sales events me
;	depends on: 6
3406; 0 0 ACL sales TABLE events me
;	depends on: 219
220; 1259 16419 TABLE sales events_1 me
;	depends on: 6 219
216; 1259 16392 TABLE sales orders me
;	depends on: 846 6
215; 1259 16391 SEQUENCE sales orders_id_seq me
;	depends on: 216 6
3407; 0 0 SEQUENCE OWNED BY sales orders_id_seq me
;	depends on: 215
222; 1259 16448 VIEW sales v me
;	depends on: 219 6
3223; 0 0 TABLE ATTACH sales events_1 me
;	depends on: 220 219
3225; 2604 16395 DEFAULT sales orders id me
;	depends on: 216 215 216
3396; 0 16419 TABLE DATA sales events_1 me
;	depends on: 220
3393; 0 16392 TABLE DATA sales orders me
;	depends on: 216
3409; 0 0 SEQUENCE SET sales orders_id_seq me
;	depends on: 215
3232; 2606 16413 CONSTRAINT sales events events_pkey me
;	depends on: 219 219
3235; 2606 16423 CONSTRAINT sales events_1 events_1_pkey me
;	depends on: 220 220 3232 220
3227; 2606 16397 CONSTRAINT sales orders orders_pkey me
;	depends on: 216
3240; 0 0 INDEX ATTACH sales events_1_pkey me
;	depends on: 3232 220 3235 3232 220 219
3246; 2620 16445 TRIGGER sales events t me
;	depends on: 219 223
3245; 2606 16414 FK CONSTRAINT sales events events_oid_fkey me
;	depends on: 3227 219 216
`;
const tables = ['events', 'events_1', 'orders'].map((name) => ({ schema: 'sales', name }));
const of = (name: string) => contentsOf(entriesWithNeeds(list), tables, { schema: 'sales', name })!;
const ids = (entries: { dumpId: number }[]) => entries.map((entry) => entry.dumpId);

describe('the contents of a dump', () => {
  it('of a partitioned table: its partitions, what is attached, what they need', () => {
    const found = of('events');
    expect(found.members.map(({ name, rows }) => [name.name, rows?.dumpId])).toEqual([
      ['events', undefined],
      ['events_1', 3396],
    ]);
    expect(ids(found.definitions)).toEqual([6, 223, 219, 3406, 220, 3223, 3232, 3235, 3240, 3246]);
    expect(ids(found.foreignKeys)).toEqual([3245]);
    expect(ids(found.dependents)).toEqual([222]);
    expect(found.attach).toBeUndefined();
  });

  it('of a partition: nothing of its parent is attached to it', () => {
    const found = of('events_1');
    expect(found.members.map(({ name }) => name.name)).toEqual(['events_1']);
    expect(found.attach?.dumpId).toBe(3223);
    // The parent is needed to make it, and its trigger is not.
    expect(ids(found.definitions)).toEqual([6, 219, 220, 3232, 3235]);
    expect(found.foreignKeys).toEqual([]);
  });

  it('of a table with a sequence: the sequence too, its value apart', () => {
    const found = of('orders');
    expect(ids(found.definitions)).toEqual([6, 846, 216, 215, 3407, 3225, 3227]);
    expect(ids(found.foreignKeys)).toEqual([3245]);
  });

  it('of a table that is not there', () => {
    expect(contentsOf(entriesWithNeeds(list), tables, { schema: 'sales', name: 'event' })).toBeUndefined();
  });

  it('takes the longest name that the manifest has', () => {
    const blank = '1; 1259 1 TABLE a b c me\n2; 1259 2 TABLE a b x\n';
    const named = ['b', 'b c'].map((name) => ({ schema: 'a', name }));
    for (const [at, name] of named.entries()) {
      expect(contentsOf(entriesWithNeeds(blank), named, name)?.members[0]?.table.dumpId).toBe(2 - at);
    }
  });
});

it('reads foreign keys', () => {
  expect(
    foreignKeyIn(
      'ALTER TABLE ONLY sales."It""ems"\n    ADD CONSTRAINT "k (x)" FOREIGN KEY ("a b", c) REFERENCES "Other".t(id, "(") ON DELETE CASCADE NOT VALID',
    ),
  ).toEqual({
    table: { schema: 'sales', name: 'It"ems' },
    name: 'k (x)',
    columns: 'FOREIGN KEY ("a b", c)',
    to: { schema: 'Other', name: 't' },
    rest: '(id, "(") ON DELETE CASCADE',
    isValidated: false,
  });
  expect(foreignKeyIn('ALTER TABLE ONLY a.b ADD CONSTRAINT c PRIMARY KEY (d)')).toBeUndefined();
});

it('reads how a partition is attached', () => {
  expect(
    attachIn(
      `ALTER TABLE ONLY sales."E x" ATTACH PARTITION sales.e_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')`,
    ),
  ).toEqual({
    parent: { schema: 'sales', name: 'E x' },
    bound: "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
  });
  expect(attachIn('ALTER INDEX sales.a ATTACH PARTITION sales.b')).toBeUndefined();
});
