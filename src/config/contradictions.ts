import { durationMs, type Duration } from './duration.ts';
import type { Path, Problem } from './issues.ts';
import type { FilePartition, FileRowsJob, FileSettings } from './schema.ts';
import { storeProblems } from './store-problems.ts';
import { splitTable, writeTable } from './table-name.ts';

/** What the schema alone cannot see: values that contradict each other, and durations that would do harm. */
export function contradictions(settings: FileSettings): Problem[] {
  return [
    ...durationLimits(settings),
    ...storeProblems(settings),
    ...duplicates(settings.partitions ?? []),
    ...(settings.partitions ?? []).flatMap((item, index) => inPartition(item, ['partitions', index])),
    ...Object.entries(settings.rows?.jobs ?? {}).flatMap(([name, job]) =>
      inRowsJob(job, ['rows', 'jobs', name]),
    ),
  ];
}

/** A lock_timeout of 0 waits for ever, and one of minutes makes everybody else wait behind us. */
function durationLimits(settings: FileSettings): Problem[] {
  const timeout = settings.locking?.timeout;
  if (timeout === undefined) return [];
  const milliseconds = durationMs(timeout);
  if (milliseconds >= 1 && milliseconds <= 10_000) return [];
  return [
    {
      path: ['locking', 'timeout'],
      message: 'must be from 1 ms to 10 s: while dbops waits for a lock, everybody else waits behind it',
    },
  ];
}

function duplicates(list: FilePartition[]): Problem[] {
  const seen = new Map<string, number>();
  return list.flatMap((item, index): Problem[] => {
    const table = writeTable(splitTable(item.table));
    const earlier = seen.get(table);
    if (earlier === undefined) {
      seen.set(table, index);
      return [];
    }
    const shown = JSON.stringify(table).slice(1, -1);
    return [
      {
        path: ['partitions', index, 'table'],
        message: `${shown} stands in partitions[${String(earlier)}] already`,
      },
    ];
  });
}

function inPartition(item: FilePartition, path: Path): Problem[] {
  const problems: Problem[] = [];
  const { retention, interval } = item;
  if (typeof interval === 'number' && item.epoch !== undefined) {
    problems.push({
      path: [...path, 'epoch'],
      message: 'goes with a calendar interval, not with a number of ids',
    });
  }
  if (retention === undefined) return problems;
  const hotPath = [...path, 'retention', 'hot'];
  if (retention.cold !== undefined && retention.then !== undefined) {
    problems.push({ path: [...path, 'retention'], message: 'cold and "then: delete" exclude each other' });
  }
  if (typeof retention.hot === 'number') {
    if (typeof interval === 'string') {
      problems.push({ path: hotPath, message: 'must be a duration such as "90 days", not a number' });
    }
    return problems;
  }
  if (typeof interval === 'number') {
    problems.push({ path: hotPath, message: 'must be a number of ids, since the interval is one' });
  }
  if (days(retention.hot) === 0) {
    problems.push({
      path: hotPath,
      message: 'must be longer than 0: every partition would be past it at once',
    });
  }
  if (retention.cold !== undefined && days(retention.cold) <= days(retention.hot)) {
    problems.push({
      path: [...path, 'retention', 'cold'],
      message: 'is the total age and must be longer than hot',
    });
  }
  return problems;
}

/** A job does one thing, to rows that it names; the other keys must go with that. */
function inRowsJob(job: FileRowsJob, path: Path): Problem[] {
  const problems: Problem[] = [];
  const verbs = (['purge', 'move', 'mask'] as const).filter((verb) => job[verb] !== undefined);
  const [verb] = verbs;
  if (verb === undefined || verbs.length > 1) {
    return [{ path, message: 'must name one table, under purge, move or mask' }];
  }
  const wrong = (key: string, message: string) => problems.push({ path: [...path, key], message });
  if (verb === 'move' && job.to === undefined) wrong('to', 'is missing: where do the rows go?');
  if (verb !== 'move' && job.to !== undefined) wrong('to', 'goes with move');
  if (verb !== 'move' && job.create !== undefined) wrong('create', 'goes with move');
  if (verb === 'mask' && Object.keys(job.set ?? {}).length === 0) wrong('set', 'must name a column');
  if (verb !== 'mask' && job.set !== undefined) wrong('set', 'goes with mask');
  if (job.olderThan === undefined && job.where === undefined) {
    problems.push({ path, message: 'must say which rows: olderThan, where, or both' });
  }
  return problems;
}

function days(span: Duration): number {
  return span.months * 30.4 + span.seconds / 86_400;
}
