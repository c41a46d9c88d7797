import { readEnvironment, type Environment } from '../config/environment.ts';
import { defaultSettings, loadSettings, type Settings } from '../config/settings.ts';
import { afterChanges, DbopsError } from '../errors.ts';
import { confirm } from '../output/confirm.ts';
import { resultDocument, toJson } from '../output/json.ts';
import { createLog, writeStderr, type Log } from '../output/log.ts';
import { writeStdout } from '../output/stdout.ts';
import { paint } from '../output/style.ts';
import type { Db } from '../pg/connection.ts';
import { renderScript } from '../plan/render.ts';
import type { History, Outcome } from '../state/history.ts';
import { version } from '../version.ts';
import type { CommandContext, CommandDefinition, GlobalOptions, Result, SharedOptions } from './command.ts';
import { durationOption } from './options.ts';
import { LazySession } from './session.ts';

/** A command with what was typed for it. */
export interface Invocation {
  /** "partition ensure". */
  name: string;
  definition: CommandDefinition;
  args: string[];
  options: SharedOptions;
  signal: AbortSignal;
}

/** Runs a command. Returns the exit code, as its own contract has it where it has one. */
export async function runCommand(invocation: Invocation): Promise<number> {
  const code = await runToExitCode(invocation);
  return invocation.definition.exitCode?.(code) ?? code;
}

/** The one runner: settings, log, session, history, output and exit code of every command. */
async function runToExitCode(invocation: Invocation): Promise<number> {
  const { options, name, definition, signal } = invocation;
  const env = readEnvironment();
  let settings: Settings;
  try {
    settings =
      definition.needsSettings === false
        ? await defaultSettings(options)
        : await loadSettings(options, process.cwd(), env);
  } catch (error) {
    const isJsonLog = options.logFormat === 'json' || env['DBOPS_LOG_FORMAT'] === 'json';
    return await tellFailure(invocation, error, isJsonLog);
  }
  const log = await createLog({
    format: settings.logFormat === 'json' ? 'json' : 'text',
    level: options.verbose === true ? 'debug' : options.quiet === true ? 'warn' : 'info',
  });
  const applied = { changes: 0 };
  const changes = typeof definition.changes === 'function' ? definition.changes(options) : definition.changes;
  const isReading = !changes || options.dryRun === true || options.check === true;
  const session = new LazySession(settings, name, signal, options.verbose === true ? log : undefined);
  let history: History | undefined;
  const context: CommandContext<object> = {
    args: invocation.args,
    options,
    settings,
    env,
    cwd: process.cwd(),
    log,
    signal,
    applied,
    connect: () => session.open(),
    now: (db) => clock(db, env['DBOPS_TEST_NOW'], log),
    job: async (target) => {
      const db = await session.open();
      if (!isReading) {
        const { refuseUnfitServer } = await import('../partition/server.ts');
        await refuseUnfitServer(db, { isStandbyFit: definition.worksOnStandby?.(options) === true });
        refuseTestClock(env);
      }
      // A standby takes no rows of ours.
      const ownHistory = await newHistory(settings, name, target, log, db.server.isStandby);
      history = ownHistory;
      return {
        db,
        settings,
        log,
        signal,
        now: clock(db, env['DBOPS_TEST_NOW'], log),
        history: ownHistory,
        applied,
        waitMs: durationOption('--wait', options.wait),
        consent: (changes, question) =>
          confirm(renderScript(changes, question), question, { yes: options.yes === true, signal }),
      };
    },
    dryRun: (changes, title, warnings = []) => ({
      data: { dryRun: true, changes },
      text: renderScript(changes, title),
      warnings,
    }),
  };
  try {
    const result = await definition.run(context);
    if (!isReading) {
      if (session.isOpen && history !== undefined)
        await recordOutcome(session, history, outcomeOf(result, applied.changes), applied.changes);
    }
    await session.close();
    return await printResult(name, result, options, log);
  } catch (error) {
    const shown =
      applied.changes > 0 && error instanceof DbopsError
        ? afterChanges(error, doneText(applied.changes))
        : error;
    await recordFailure(session, history, shown, applied.changes);
    await session.close();
    return await tellFailure(invocation, shown, settings.logFormat === 'json');
  }
}

async function tellFailure(
  { definition, options }: Invocation,
  error: unknown,
  isJsonLog: boolean,
): Promise<number> {
  const code = reportError(error, options, isJsonLog);
  const told = definition.failure?.(error, options);
  if (told === undefined) return code;
  await writeStdout(`${told.text}\n`);
  return told.exitCode;
}

function doneText(changes: number): string {
  return `${String(changes)} ${changes === 1 ? 'change was' : 'changes were'} made before`;
}

async function newHistory(
  settings: Settings,
  command: string,
  target: string | null,
  log: Log,
  isOff = false,
): Promise<History> {
  const { History } = await import('../state/history.ts');
  return new History({ schema: settings.stateSchema, command, target, version, log, isOff });
}

/** What is done is done: a session that was lost meanwhile makes no failure of it. */
async function recordOutcome(
  session: LazySession,
  history: History,
  { outcome, message }: NonNullable<Result['recorded']>,
  changes: number,
): Promise<void> {
  try {
    await history.finish(await session.openFresh(), outcome, message, changes);
  } catch (error) {
    if (!(error instanceof DbopsError) || error.code !== 'connection_lost') throw error;
    await history.finish(await session.reopen(), outcome, message, changes);
  }
}

function outcomeOf({ recorded, exitCode }: Result, changes: number): NonNullable<Result['recorded']> {
  if (recorded !== undefined) return recorded;
  const outcome = (exitCode ?? 0) !== 0 ? 'partly done' : changes > 0 ? 'done' : 'nothing to do';
  return { outcome, message: null };
}

/** A run that had begun to change something leaves a row that tells how it ended; one that was refused leaves none. */
async function recordFailure(
  session: LazySession,
  history: History | undefined,
  error: unknown,
  changes: number,
): Promise<void> {
  if (!session.isOpen || history?.runId === undefined) return;
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof DbopsError ? error.code : undefined;
  const outcome: Outcome =
    code === 'interrupted' || code === 'terminated' ? 'interrupted' : changes > 0 ? 'partly done' : 'failed';
  try {
    await history.finish(await session.openFresh(), outcome, message, changes);
  } catch {
    // The session is lost or was interrupted; the next run marks the row.
  }
}

/** A clock left over from a demonstration must not make anything due. */
function refuseTestClock(env: Environment): void {
  if (env['DBOPS_TEST_NOW'] === undefined || env['DBOPS_TEST_NOW'] === '' || env['DBOPS_TEST'] === '1')
    return;
  throw new DbopsError(
    'refused',
    'DBOPS_TEST_NOW is set, and nothing is changed by a clock that is not the real one',
    {
      hint: 'Unset it; in a test of your own, set DBOPS_TEST=1 as well.',
    },
  );
}

let clockWarned = false;

function clock(db: Db, testNow: string | undefined, log: Log): Date {
  if (testNow === undefined || testNow === '') return db.server.now;
  const now = new Date(testNow);
  if (Number.isNaN(now.getTime())) {
    throw new DbopsError('usage', `DBOPS_TEST_NOW is no time: "${testNow}"`, {
      hint: 'Write it as 2026-11-21T00:00:00Z.',
    });
  }
  if (!clockWarned)
    log.warn(
      { event: 'test_clock', now: now.toISOString() },
      `the clock is set to ${now.toISOString()} by DBOPS_TEST_NOW`,
    );
  clockWarned = true;
  return now;
}

async function printResult(name: string, result: Result, options: GlobalOptions, log: Log): Promise<number> {
  const warnings = result.warnings ?? [];
  if (options.json === true) {
    await writeStdout(resultDocument(name, result.data, warnings));
  } else {
    for (const warning of warnings) log.warn({ event: 'warning' }, warning);
    const text = await result.text;
    await writeStdout(text === '' || text.endsWith('\n') ? text : `${text}\n`);
  }
  return result.exitCode ?? 0;
}

/** Says on stderr what went wrong, and returns the exit code. Passwords were never in it. */
export function reportError(error: unknown, options: GlobalOptions, jsonLog: boolean): number {
  if (!(error instanceof DbopsError)) return reportBug(error, options);
  const { code, message, hint, detail, exitCode } = error;
  if (options.json === true || jsonLog) {
    writeStderr(`${toJson({ error: { code, message, hint, detail, exitCode } }, 0)}\n`);
    return exitCode;
  }
  const lines = [`${paint('red', 'dbops: ', 2)}${message}`];
  if (detail !== undefined && detail !== '') lines.push(...detail.split('\n').map((line) => `  ${line}`));
  if (hint !== undefined) lines.push(`${paint('cyan', 'hint: ', 2)}${hint}`);
  if (options.verbose === true) lines.push(stackOf(error.cause ?? error));
  writeStderr(`${lines.join('\n')}\n`);
  return exitCode;
}

function reportBug(error: unknown, options: GlobalOptions): number {
  const message = error instanceof Error ? error.message : String(error);
  if (options.json === true) {
    writeStderr(`${toJson({ error: { code: 'bug', message, exitCode: 1 } }, 0)}\n`);
    return 1;
  }
  const more = options.verbose === true ? stackOf(error) : 'Run it again with -v and report what it prints.';
  writeStderr(`dbops: this is a bug in dbops ${version}: ${message}\n${more}\n`);
  return 1;
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
