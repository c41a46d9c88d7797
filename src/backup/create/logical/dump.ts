import { setTimeout as sleep } from 'node:timers/promises';
import { DbopsError, interrupted } from '../../../errors.ts';
import { Progress } from '../../../output/progress.ts';
import { isRetryable } from '../../../pg/sqlstate.ts';
import { describeBlockers } from '../../../plan/apply.ts';
import { together } from '../../../process/parallel.ts';
import { beginDumpSnapshot } from '../../../sql/backup-facts.ts';
import { listBlockers } from '../../../sql/locks.ts';
import { relation, type RelationName } from '../../../sql/quote.ts';
import type { LogicalPart } from '../../manifest.ts';
import type { Making } from '../maker.ts';
import { dumpToDirectory } from './directory.ts';
import { readFacts, type Facts } from './facts.ts';
import { busyTable, isPastLocks, withHint } from './failure.ts';
import { select, type LogicalPlan, type Selection } from './plan.ts';
import { storeRequirements } from './requirements.ts';
import { dumpDefinitions, dumpToStream } from './stream.ts';
import type { Toc } from '../../toc.ts';

/** One attempt at a dump. */
export interface DumpRun {
  snapshotId: string;
  /** What pg_dump is told to take; empty: everything. */
  names: RelationName[];
  signal: AbortSignal;
  /** Told of what pg_dump -v says. */
  onLine: (line: string) => void;
  /** Passes on the compressed bytes, for progress. */
  counting: (body: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
}

/** What a dump holds, as it was read back from what was written. */
export interface Dumped {
  toc: Toc;
  /** Number of the data file to its rows. */
  rows: Map<number, number>;
  sequenceValues: Map<string, { lastValue: string; isCalled: boolean }>;
}

/** A dump with what its snapshot says of it. */
export interface DumpWithFacts {
  snapshot: LogicalPart['snapshot'];
  selection: Selection;
  facts: Facts;
  /** Null: a script without a table of contents. */
  dumped: Dumped | null;
}

/**
 * Dumps, and reads what belongs to the dump in the same snapshot. pg_dump waits for no lock longer than lock_timeout: until
 * it has them all it is started again, in a new snapshot, up to the deadline for locks. Throws lock_timeout, tool_failed,
 * or what the stores throw.
 */
export async function dumpWithFacts(
  making: Making,
  plan: LogicalPlan,
  work: string | undefined,
): Promise<DumpWithFacts> {
  const { context } = making;
  const deadline = performance.now() + context.settings.lockDeadlineMs;
  for (let attempt = 1; ; attempt += 1) {
    const state = { hasLocks: false, tables: [] as RelationName[] };
    try {
      return await attemptOnce(making, plan, {
        work,
        onSelected: (tables) => (state.tables = tables),
        onLocks: () => (state.hasLocks = true),
      });
    } catch (error) {
      const one = busyTable(error);
      if (one === undefined && !(isRetryable(error) && !state.hasLocks)) throw withHint(error);
      const asked = one === undefined ? [] : one === '' ? state.tables.map(relation) : [one];
      const blockers = await blockersOf(making, asked);
      const table = [...new Set(blockers.map((blocker) => blocker.table))].join(', ') || one || 'a table';
      if (state.hasLocks || performance.now() >= deadline)
        throw gaveUp(table, blockers, error, state.hasLocks);
      context.log.debug(
        { event: 'lock_retry', table, attempt, holder: blockers[0]?.pid ?? null },
        `pg_dump could not lock ${table}: ${describeBlockers(blockers)}; trying again`,
      );
      const ceiling = Math.min(200 * 2 ** Math.min(attempt, 10), 5000);
      await sleep(ceiling * (0.5 + Math.random() / 2), undefined, { signal: context.signal }).catch(
        () => undefined,
      );
    }
  }
}

/** The names are quoted as in SQL. */
async function blockersOf(making: Making, tables: string[]) {
  const needs = tables.map((table) => ({ table, mode: 'ACCESS SHARE' as const }));
  return await listBlockers(making.context.db, needs).catch(() => []);
}

function gaveUp(
  table: string,
  blockers: Awaited<ReturnType<typeof listBlockers>>,
  cause: unknown,
  hadLocks: boolean,
): DbopsError {
  const [holder] = blockers;
  const message = hadLocks
    ? 'the dump met a lock that somebody waits for while it ran, and was given up'
    : `gave up: pg_dump could not lock ${table} in time`;
  return new DbopsError('lock_timeout', message, {
    detail: describeBlockers(blockers),
    hint:
      holder === undefined
        ? 'Run it again; "locking.deadline" says how long it tries.'
        : `Wait for pid ${String(holder.pid)} to end, or end it: select pg_terminate_backend(${String(holder.pid)}).`,
    cause,
  });
}

async function attemptOnce(
  making: Making,
  plan: LogicalPlan,
  options: {
    work: string | undefined;
    onSelected: (tables: RelationName[]) => void;
    onLocks: () => void;
  },
): Promise<DumpWithFacts> {
  const { context } = making;
  const session = await context.db.openAnother();
  const progress = new Progress(context.log, 'backing up', 'backup_progress');
  try {
    const snapshot = await beginDumpSnapshot(session);
    const selection = await select(session, plan.selected, plan.excluded);
    options.onSelected(selection.tables);
    let locked = (): void => undefined;
    const locks = new Promise<void>((resolve) => {
      locked = resolve;
    });
    const onLine = (line: string) => {
      if (!isPastLocks(line)) return;
      options.onLocks();
      locked();
    };
    const counting = async function* (body: AsyncIterable<Uint8Array>) {
      for await (const chunk of body) {
        progress.add(chunk.length);
        yield chunk;
      }
    };
    const [dumped, facts] = await together(
      context.signal,
      async (signal): Promise<Dumped | null> => {
        const run = { snapshotId: snapshot.id, names: selection.names, signal, onLine, counting };
        const result = await dump(making, plan, run, options.work);
        locked();
        return result;
      },
      async (signal) => {
        const onAbort = () => {
          locked();
          void session.close();
        };
        signal.addEventListener('abort', onAbort, { once: true });
        await locks;
        if (signal.aborted) throw interrupted(signal);
        return await readFacts(making, plan, { session, snapshotId: snapshot.id, selection, signal });
      },
    );
    if (plan.selected !== null) await storeRequirements(making, plan, session, selection);
    return {
      snapshot: { id: snapshot.id, lsn: snapshot.lsn, at: snapshot.at.toISOString() },
      selection,
      facts,
      dumped,
    };
  } finally {
    progress.end();
    await session.close();
  }
}

async function dump(
  making: Making,
  plan: LogicalPlan,
  run: DumpRun,
  work: string | undefined,
): Promise<Dumped | null> {
  if (plan.format === 'plain') return await dumpDefinitions(making, plan, run);
  if (work === undefined) return await dumpToStream(making, plan, run);
  return await dumpToDirectory(making, plan, run, work);
}
