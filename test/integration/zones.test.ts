// Where a period begins is what PostgreSQL says, for many days of many zones.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gridOf, toInstant, toWall } from '../../src/partition/model/grid.ts';
import { codecOf } from '../../src/partition/model/key.ts';
import { zoneOf } from '../../src/partition/model/zone.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { awkwardDays, awkwardZones, calendarIntervals } from '../support/periods.ts';

let db: TestDatabase;
const codec = codecOf('timestamptz', 'day', undefined, 'test');

beforeAll(async () => {
  db = await createDatabase('zones');
});

afterAll(() => db.drop());

/** Every 7 hours for three days around each date; today's rules of a far future differ between releases of the data. */
const instants = awkwardDays
  .filter((day) => day >= '1980')
  .flatMap((day) =>
    Array.from(
      { length: 11 },
      (_, index) => Date.parse(day) - 36 * 3_600_000 + index * 7 * 3_600_000 + 61_000,
    ),
  );

describe.each(awkwardZones)('in %s', (name) => {
  const zone = zoneOf(name);

  it.each(calendarIntervals.filter((interval) => interval !== 'hour'))(
    'a %s begins where it does on the server',
    async (interval) => {
      const grid = gridOf(interval, codec, zone);
      // date_trunc gives the wall clock's beginning; "at time zone" turns it into an instant as a bound would be.
      const rows = await db.query<{ at: number; start: number }>(
        `select x as at, (extract(epoch from date_trunc($2, to_timestamp(x / 1000) at time zone $3) at time zone $3)
              * 1000)::float8 as start
         from unnest($1::float8[]) as x`,
        [instants, interval, name],
      );
      expect(rows).toHaveLength(instants.length);
      for (const { at, start } of rows) {
        const ours = Number(grid.start(grid.index(BigInt(at) * 1000n)) / 1000n);
        expect(new Date(ours).toISOString(), new Date(at).toISOString()).toBe(new Date(start).toISOString());
      }
    },
  );

  it('instants and wall-clock times are turned into each other as on the server', async () => {
    const rows = await db.query<{ at: number; wall: number; back: number }>(
      `select x as at, (extract(epoch from to_timestamp(x / 1000) at time zone $2) * 1000)::float8 as wall,
              (extract(epoch from (to_timestamp(x / 1000) at time zone 'UTC') at time zone $2) * 1000)::float8 as back
         from unnest($1::float8[]) as x`,
      [instants, name],
    );
    for (const { at, wall, back } of rows) {
      expect(Number(toWall(zone, BigInt(at) * 1000n) / 1000n)).toBe(wall);
      expect(Number(toInstant(zone, BigInt(at) * 1000n) / 1000n)).toBe(back);
    }
  });
});
