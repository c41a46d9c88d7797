import { DbopsError } from '../errors.ts';
import { humanSeconds } from '../output/human.ts';
import type { JobContext } from '../partition/context.ts';
import type { Db, ServerWarning } from '../pg/connection.ts';
import { isConnectionLoss, sqlStateOf } from '../pg/sqlstate.ts';
import { applyChanges } from '../plan/apply.ts';
import { displayName } from '../sql/quote.ts';
import type { Task, TaskResult } from './task.ts';
import { remainingMs, type Window } from './window.ts';

/** A busy lock is tried for so long, and then the next table has its turn. */
const longestTryMs = 10_000;

/**
 * Does one task, and says what became of it: what is refused, locked or gone is an outcome. Throws what ends the whole run:
 * a lost connection, an interruption, a bug.
 */
export async function runTask(context: JobContext, db: Db, task: Task, window: Window): Promise<TaskResult> {
  const started = performance.now();
  const { verb, why } = task;
  const object = displayName(task.target);
  const result = (outcome: TaskResult['outcome'], reason: string | null): TaskResult => {
    const seconds = (performance.now() - started) / 1000;
    return { verb, object, why, outcome, reason, seconds, before: null, after: null };
  };
  if (remainingMs(window) <= 0) return result('left', `the window closed at ${window.until ?? ''}`);
  const { expectedSeconds = 0 } = task;
  if (remainingMs(window) < expectedSeconds * 1000)
    return result(
      'left',
      `it may take ${humanSeconds(expectedSeconds)}, and the window closes at ${window.until ?? ''}`,
    );
  try {
    const applied = { changes: 0 };
    const warnings = await db.catchWarnings(() => applyTask(context, db, task, window, applied));
    const messages = warnings.map(({ message }) => message);
    if (warnings.some(isRefusal)) return told(context, result('skipped', messages.join('; ')));
    for (const message of messages) context.log.warn({ event: 'server_warning' }, message);
    context.applied.changes += applied.changes;
    return told(context, result('done', null));
  } catch (error) {
    if (endsRun(context, error)) {
      context.log.warn(
        { event: 'maintenance_ended', verb, object },
        `${verb} ${object}: ${leftBehind(verb)}`,
      );
      throw error;
    }
    return told(context, result(...outcomeOf(error, window)));
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
  const left = Math.max(1, Math.ceil(remainingMs(window)));
  const change = { ...task.change, statementTimeoutMs: Number.isFinite(left) ? left : null };
  const { log, signal, settings } = context;
  await applyChanges(db, [change], applied, {
    // What was done is told once it is known whether the server did it.
    log: { ...log, info: log.debug },
    signal,
    deadlineMs: Math.min(settings.lockDeadlineMs, longestTryMs, left),
  });
}

/**
 * Functions of the server whose warnings say that nothing was done, although the statement succeeds. The words differ between
 * versions and languages: src/backend/commands/vacuum.c, analyze.c and indexcmds.c.
 */
const refusing = new Set([
  'vacuum_is_relation_owner',
  'vacuum_is_permitted_for_relation',
  'vacuum_open_relation',
  'expand_vacuum_rel',
  'vacuum_rel',
  'analyze_rel',
  'ReindexRelationConcurrently',
]);

function isRefusal({ routine }: ServerWarning): boolean {
  return routine !== undefined && refusing.has(routine);
}

function endsRun({ signal }: JobContext, error: unknown): boolean {
  return !(error instanceof DbopsError) || signal.aborted || isConnectionLoss(error);
}

/** What there is after a task that ended in its midst, when nobody can look any more. Pure. */
export function leftBehind(verb: Task['verb']): string {
  switch (verb) {
    case 'reindex':
    case 'drop leftover':
      return (
        'ended in its midst: the index is as it was, and an invalid one whose name ends in _ccnew or _ccold may be left ' +
        'behind, which slows writers down; "dbops maintenance reindex" removes it'
      );
    case 'vacuum':
    case 'analyze':
      return 'ended in its midst: nothing is left behind, and the next run begins it anew';
    case 'vacuum full':
    case 'refresh':
    case 'set':
      return 'ended in its midst: it is as it was before';
  }
}

function outcomeOf(error: unknown, window: Window): [TaskResult['outcome'], string | null] {
  if (!(error instanceof DbopsError)) throw error;
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
