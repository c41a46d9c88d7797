import { DbopsError } from '../errors.ts';
import { sqlStateOf } from '../pg/sqlstate.ts';
import {
  checkpointCounters,
  databaseCounters,
  type CheckpointsRow,
  type DatabaseCountersRow,
} from '../sql/health-activity.ts';
import { countedSince } from '../sql/health-facts.ts';
import { listCounterSamples, type Sample } from '../sql/samples.ts';
import { findStateVersion } from '../sql/state.ts';
import { sampleVersion } from './capacity/forecasts.ts';
import type { CheckContext } from './check.ts';
import { oncePerRun } from './once.ts';
import { stateGrant } from './state-grant.ts';

/** Whose statistics are reset together. */
export type CounterGroup = 'database' | 'checkpoints';

/** What the server has counted of this database. */
export async function readDatabaseCounters({
  db,
  facts,
}: Pick<CheckContext, 'db' | 'facts'>): Promise<Counters<DatabaseCountersRow>> {
  const [counts] = await db.query<DatabaseCountersRow>(databaseCounters());
  if (counts === undefined) throw new Error('the server has counted nothing of this database');
  return { group: 'database', since: countedSince(facts), counts };
}

/** What the server has counted of its checkpoints. */
export async function readCheckpointCounters({
  db,
}: Pick<CheckContext, 'db'>): Promise<Counters<CheckpointCounts>> {
  const [row] = await db.query<CheckpointsRow>(checkpointCounters(db.server.versionNum));
  if (row === undefined) throw new Error('the server has counted no checkpoints');
  const { timed, requested } = row;
  return { group: 'checkpoints', since: row.countedSince, counts: { timed, requested } };
}

type CheckpointCounts = Pick<CheckpointsRow, 'timed' | 'requested'>;

type Counts<Row> = { [Name in keyof Row]: number };

/** What the server has counted, and since when. */
export interface Counters<Row> {
  group: CounterGroup;
  since: Date;
  counts: Counts<Row>;
}

/** What was counted within a time that ends now. */
export interface CountedWindow<Row> {
  since: Date;
  counts: Counts<Row>;
  /** Why it is all since the last reset, and not about a day; undefined where it is. */
  whole: string | undefined;
}

/** Cron is not on time to the minute; a window of much less than a day would tell of the night alone. */
const leastHours = 20;
/** An older sample says as little of now as a reset does. */
const mostDays = 8;
const hourMs = 3_600_000;
const sinceName = 'counted since';

/** Counters as samples of a day, with the reset that they count from: only those of the same one can be compared. Pure. */
export function counterSamples<Row>({ group, since, counts }: Counters<Row>): Sample[] {
  const values = { ...counts, [sinceName]: since.getTime() };
  return Object.entries<number>(values).map(([name, value]) => ({
    kind: 'counter',
    object: `${group}.${name}`,
    value: BigInt(Math.trunc(value)),
    bound: null,
  }));
}

/** A sample of all counters; where there is none, why. */
export type CounterSample = { takenAt: Date; values: Map<string, number> } | { missing: string };

/** The sample of about a day ago. */
export const counterSample = oncePerRun(
  async ({ db, settings, now, signal }: CheckContext): Promise<CounterSample> => {
    const { stateSchema } = settings;
    const missing = 'no sample of a day ago: "dbops capacity record" every day keeps them';
    try {
      if ((await findStateVersion(db, stateSchema)) < sampleVersion) return { missing };
      const rows = await listCounterSamples(db, stateSchema, {
        from: new Date(now.getTime() - mostDays * 24 * hourMs),
        to: new Date(now.getTime() - leastHours * hourMs),
      });
      const [first] = rows;
      if (first === undefined) return { missing };
      return { takenAt: first.takenAt, values: new Map(rows.map((row) => [row.object, row.value])) };
    } catch (error) {
      if (!(error instanceof DbopsError) || error.code === 'connection_lost' || signal.aborted) throw error;
      if (sqlStateOf(error) === '42501')
        return { missing: `samples may not be read: ${stateGrant(db, settings)}` };
      return { missing: `samples could not be read: ${error.message}` };
    }
  },
);

/**
 * What was counted since the sample, or since the last reset where the sample counts from another one: after a reset, a crash
 * or a failover counters begin anew, and a difference would be of two series. Pure.
 */
export function countedWindow<Row>(
  { group, since, counts }: Counters<Row>,
  sample: CounterSample,
): CountedWindow<Row> {
  if ('missing' in sample) return { since, counts, whole: sample.missing };
  const { takenAt, values } = sample;
  const names = Object.keys(counts) as (keyof Row & string)[];
  const before = (name: string) => values.get(`${group}.${name}`);
  const isSame =
    before(sinceName) === since.getTime() &&
    names.every((name) => counts[name] >= (before(name) ?? Infinity));
  if (!isSame)
    return { since, counts, whole: 'the last sample counts from another reset, or on another server' };
  const differences = names.map((name) => [name, counts[name] - (before(name) ?? 0)]);
  return { since: takenAt, counts: Object.fromEntries(differences) as Counts<Row>, whole: undefined };
}
