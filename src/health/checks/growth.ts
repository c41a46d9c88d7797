import { DbopsError } from '../../errors.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { sqlStateOf } from '../../pg/sqlstate.ts';
import { listForecasts, type ObjectForecast } from '../capacity/forecasts.ts';
import { allWell, skip, type Check, type CheckContext, type Look, type Observation } from '../check.ts';
import { oncePerRun } from '../once.ts';
import { stateGrant } from '../state-grant.ts';

const asks =
  'the samples of "dbops capacity record" of the last 90 days, with the forecast of "dbops capacity forecast"';
const dayMs = 86_400_000;
/** A day may be missed; after three nobody records any more. */
const staleDays = 3;
/** A smaller database may grow as it likes. */
const leastBytes = 1024 ** 3;
/** There may be thousands of sequences, and one that has hardly begun has no end to tell of. */
const leastShare = 0.1;

/** What the samples of the last months say of the next ones. */
export const growth: Check[] = [
  {
    id: 'sizes.growth',
    group: 'sizes',
    answers: 'by how much this database grows in 30 days',
    why: 'Backups, restores and disks grow with it, and what was planned for a year is there in three months.',
    advice: 'See which tables grow, and whether old rows can be archived or deleted.',
    thresholds: { unit: 'percent', worse: 'above', warn: 25, crit: null },
    source: 'our own: 25 % in 30 days doubles it in about three months; from 1 GB on',
    profiles: ['weekly', 'monthly'],
    asks,
    look: (context) => withForecasts(context, judgeGrowth),
  },
  {
    id: 'sizes.time-left',
    group: 'sizes',
    answers: 'in how many days a disk or a sequence is used up, as it has grown in the last 90 days',
    why: 'A full disk stops the server, and a sequence at its end stops every insert; either takes days to mend in peace.',
    advice:
      'Order the disk, or widen the column, while there is time; "dbops capacity forecast" has the range of each.',
    thresholds: { unit: 'days', worse: 'below', warn: 30, crit: 7 },
    source:
      'our own: a month to order a disk or to rewrite a table. Transaction ids are judged by wraparound: freezing moves their end',
    profiles: ['daily', 'weekly', 'monthly'],
    asks,
    look: (context) => withForecasts(context, judgeTimeLeft),
  },
];

const forecasts = oncePerRun(({ db, settings, now }) =>
  listForecasts(db, {
    schema: settings.stateSchema,
    now,
    days: 90,
    kinds: ['disk', 'sequence', 'database'],
    leastShare,
  }),
);

/** Judges what is sampled to this day; what was dropped, or is not sampled any more, has no future. */
async function withForecasts(
  context: CheckContext,
  judge: (known: ObjectForecast[], context: CheckContext) => Look,
): Promise<Look> {
  const { db, settings, now } = context;
  let all: ObjectForecast[];
  try {
    all = await forecasts(context);
  } catch (error) {
    if (!(error instanceof DbopsError) || sqlStateOf(error) !== '42501') throw error;
    return unknown(`role "${db.server.user}" may not read the samples`, {
      advice: 'Give the role what it takes, as the owner of the schema.',
      mend: stateGrant(db, settings),
    });
  }
  const newest = Math.max(...all.map(({ sampledAt }) => sampledAt.getTime()));
  if (all.length === 0)
    return skip('nothing was recorded in the last 90 days: "dbops capacity record" every day keeps samples');
  if (now.getTime() - newest > staleDays * dayMs)
    return unknown(`the last sample is of ${new Date(newest).toISOString().slice(0, 10)}`, {
      advice: 'Look why it is not recorded every day any more.',
      mend: 'dbops capacity record',
    });
  const current = all.filter(({ sampledAt }) => now.getTime() - sampledAt.getTime() <= staleDays * dayMs);
  const old = current.filter(({ trend }) => trend !== 'too young');
  if (old.length > 0) return judge(old, context);
  const days = Math.max(...current.map(({ spanDays }) => spanDays));
  return unknown(`there are samples of ${days.toFixed(1)} days, and a forecast takes 7`, {
    advice: 'Wait, and record every day: "dbops capacity record".',
  });
}

function unknown(message: string, rest: Pick<Observation, 'advice' | 'mend'>): Look {
  return { observations: [{ object: null, value: null, message, ...rest }], summary: message };
}

function judgeGrowth(known: ObjectForecast[], { db }: CheckContext): Look {
  const own = known.find(({ kind, object }) => kind === 'database' && object === db.server.database);
  if (own === undefined || own.perDay === null)
    return skip(`database "${db.server.database}" was not sampled for long enough`);
  const { value, perDay, trend } = own;
  if (value < leastBytes) return allWell(`${humanBytes(value)}, too small to matter`);
  if (trend !== 'growing') return allWell(`${humanBytes(value)}, and no trend to grow`);
  const percent = ((perDay.likely * 30) / value) * 100;
  const message = `${humanBytes(value)}, and ${humanBytes(perDay.likely)} more a day: ${percent.toFixed(1)} % in 30 days`;
  const mend = 'dbops capacity forecast --kind table';
  return { observations: [{ object: own.object, value: percent, message, mend }], summary: message };
}

function judgeTimeLeft(known: ObjectForecast[], { floor, now }: CheckContext): Look {
  const ends = known
    .flatMap((row) => (row.reachedAt === null ? [] : [{ row, days: daysUntil(row.reachedAt, now) }]))
    .sort((a, b) => a.days - b.days);
  const [first] = ends;
  if (first === undefined) return allWell('no disk and no sequence has an end in sight');
  const soon = ends.filter(({ days }) => days <= floor);
  const summary = `the first to be used up is ${first.row.kind} ${first.row.object}, in ${humanCount(Math.floor(first.days))} days`;
  return { observations: soon.map(({ row, days }) => observe(row, days)), summary };
}

function observe(
  { kind, object, value, bound, daysUntil: range }: ObjectForecast,
  days: number,
): Observation {
  const human = kind === 'disk' ? humanBytes : humanCount;
  const until = typeof range?.high !== 'number' ? '' : ` and at most ${humanCount(Math.ceil(range.high))}`;
  return {
    object,
    value: days,
    message: `the ${kind} is used up in about ${humanCount(Math.floor(days))} days`,
    detail: `${human(value)} of ${human(bound ?? 0)} are used; it takes at least ${humanCount(Math.floor(range?.low ?? 0))}${until} days`,
    mend: `dbops capacity forecast --kind ${kind}`,
  };
}

function daysUntil(at: Date, now: Date): number {
  return Math.max(0, (at.getTime() - now.getTime()) / dayMs);
}
