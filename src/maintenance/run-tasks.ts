import { DbopsError } from '../errors.ts';
import { humanSeconds } from '../output/human.ts';
import type { JobContext } from '../partition/context.ts';
import type { Db } from '../pg/connection.ts';
import { isConnectionLoss, sqlStateOf } from '../pg/sqlstate.ts';
import { applyChanges } from '../plan/apply.ts';
import { together } from '../process/parallel.ts';
import { listFigures, type FiguresRow } from '../sql/maintenance.ts';
import { displayName } from '../sql/quote.ts';
import { watchProgress } from './progress.ts';
import type { Figures, Task, TaskResult } from './task.ts';
import { remainingMs, type Window } from './window.ts';

export interface RunOptions {
  /** Sessions at once. */
  jobs: number;
  window: Window;
}

/** A busy lock is tried for so long, and then the next table has its turn. */
const longestTryMs = 10_000;

/** Functions of the server, 14 to 18, that warn of what they do not do, after which the statement "succeeds". */
const leavesOut = new Set([
  'vacuum_is_relation_owner',
  'vacuum_is_permitted_for_relation',
  'vacuum_open_relation',
  'expand_vacuum_rel',
  'vacuum_rel',
  'analyze_rel',
  'ReindexRelationConcurrently',
]);

/**
 * Does tasks in their order, in sessions of their own, and says what became of each. What is refused, locked or gone does
 * not stop the others; a lost connection and an interruption do.
 */
export async function runTasks(
  context: JobContext,
  tasks: Task[],
  { jobs, window }: RunOptions,
): Promise<TaskResult[]> {
  if (tasks.length === 0) return [];
  const oids = tasks.flatMap(({ oid }) => (oid === null ? [] : [oid]));
  const before = byOid(await listFigures(context.db, oids));
  const results: TaskResult[] = [];
  const queue = tasks.entries();
  const sessions: Db[] = [];
  const progress = watchProgress(context, sessions);
  try {
    const worker = async (own: AbortSignal) => {
      const db = await context.db.openAnother();
      sessions.push(db);
      try {
        for (const [index, task] of queue) {
          if (own.aborted && !context.signal.aborted) return;
          results[index] = await runTask(context, db, task, window);
        }
      } finally {
        await db.close();
      }
    };
    const workers = Array.from({ length: Math.min(jobs, tasks.length) }, () => worker);
    await together(context.signal, ...workers);
  } finally {
    await progress.end();
  }
  const counted = tasks.flatMap(({ oid, verb }) => (oid !== null && isCounted(verb) ? [oid] : []));
  const after = byOid(await figuresAfter(context.db, oids, counted, before));
  return results.map((result, index) => {
    const oid = tasks[index]?.oid ?? null;
    const of = (figures: Map<number, FiguresRow>) => figuresOf(oid === null ? undefined : figures.get(oid));
    return { ...result, before: of(before), after: result.outcome === 'done' ? of(after) : null };
  });
}

async function runTask(context: JobContext, db: Db, task: Task, window: Window): Promise<TaskResult> {
  const started = performance.now();
  const result = (outcome: TaskResult['outcome'], reason: string | null): TaskResult => {
    const seconds = (performance.now() - started) / 1000;
    const { verb, why } = task;
    return {
      verb,
      object: displayName(task.target),
      why,
      outcome,
      reason,
      seconds,
      before: null,
      after: null,
    };
  };
  if (remainingMs(window) <= 0) return result('left', `the window closed at ${window.until ?? ''}`);
  try {
    const applied = { changes: 0 };
    const warnings = await db.catchWarnings(() => applyTask(context, db, task, window, applied));
    if (warnings.some(({ routine }) => routine !== undefined && leavesOut.has(routine)))
      return told(context, result('skipped', warnings.map(({ message }) => message).join('; ')));
    for (const { message } of warnings) context.log.warn({ event: 'server_warning' }, message);
    context.applied.changes += applied.changes;
    return told(context, result('done', null));
  } catch (error) {
    return told(context, result(...outcomeOf(context, error, window)));
  }
}

/** The end of the window ends what runs then; else nothing limits it, whatever the role's own timeout is. */
async function applyTask(
  context: JobContext,
  db: Db,
  task: Task,
  window: Window,
  applied: { changes: number },
): Promise<void> {
  const left = Math.max(1, Math.round(remainingMs(window)));
  const change = { ...task.change, statementTimeoutMs: Number.isFinite(left) ? left : null };
  const { log, signal, settings } = context;
  await applyChanges(db, [change], applied, {
    // What was done is told once it is known whether the server did it.
    log: { ...log, info: log.debug },
    signal,
    deadlineMs: Math.min(settings.lockDeadlineMs, longestTryMs, left),
  });
}

/** Throws what ends the whole run. */
function outcomeOf(
  { signal }: JobContext,
  error: unknown,
  window: Window,
): [TaskResult['outcome'], string | null] {
  if (!(error instanceof DbopsError) || signal.aborted || isConnectionLoss(error)) throw error;
  const reason = [error.message, error.detail, error.hint].filter((text) => text !== undefined).join('; ');
  const state = sqlStateOf(error);
  // undefined_table, undefined_object, invalid_schema_name
  if (state === '42P01' || state === '42704' || state === '3F000') return ['vanished', 'it is gone'];
  if (remainingMs(window) <= 0) return ['left', `the window closed at ${window.until ?? ''} in its midst`];
  // What has no concurrent form: exclusion constraints, catalogs.
  if (error.code === 'lock_timeout' || state === '0A000') return ['skipped', reason];
  return ['failed', reason];
}

function told({ log }: JobContext, result: TaskResult): TaskResult {
  const { verb, object, outcome, reason, seconds } = result;
  const fields = { event: `maintenance_${outcome}`, verb, object, seconds };
  const took = `${verb} ${object}: ${outcome} in ${humanSeconds(seconds)}`;
  if (reason === null) log.info(fields, took);
  else log.warn(fields, `${verb} ${object}: ${outcome}: ${reason}`);
  return result;
}

/** Whether the statistics count it; VACUUM FULL counts as the ANALYZE beside it. */
function isCounted(verb: Task['verb']): boolean {
  return verb.startsWith('vacuum') || verb === 'analyze';
}

/** Before PostgreSQL 15 statistics arrive by a process of their own, which takes a moment. */
async function figuresAfter(
  db: Db,
  oids: number[],
  counted: number[],
  before: Map<number, FiguresRow>,
): Promise<FiguresRow[]> {
  const patience = performance.now() + (db.server.versionNum >= 150_000 ? 0 : 1000);
  for (;;) {
    const rows = await listFigures(db, oids);
    const isThere = rows.every(
      (row) => !counted.includes(row.oid) || row.maintained > (before.get(row.oid)?.maintained ?? 0),
    );
    if (isThere || performance.now() >= patience) return rows;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function byOid(rows: FiguresRow[]): Map<number, FiguresRow> {
  return new Map(rows.map((row) => [row.oid, row]));
}

function figuresOf(row: FiguresRow | undefined): Figures | null {
  if (row === undefined) return null;
  const { sizeBytes, deadRows, xidAge } = row;
  return { sizeBytes, deadRows, xidAge };
}
