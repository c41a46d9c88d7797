import { DbopsError } from '../../../errors.ts';
import { isConnectionLoss } from '../../../pg/sqlstate.ts';
import { withWorkDirectory } from '../../../process/work-directory.ts';
import { ident, visible } from '../../../sql/quote.ts';
import { listDatabases, showRun } from '../../../sql/restore-database.ts';
import { analyzeAndCheck, collationWarnings, type CheckResult } from './check.ts';
import type { RestoreContext } from './context.ts';
import { readDatabaseStatements, withoutTablespace, type DatabaseStatements } from './dump.ts';
import type { RestoreErrors } from './errors.ts';
import { loadInParts } from './load.ts';
import { fetchContext, suffixed, type DatabasePlan } from './plan.ts';
import { renameDatabase, swapDatabases } from './swap.ts';
import { fetchForLoad, type DumpInParts } from './rows.ts';
import { dropAbandoned, dropWorking, markStatement } from './working.ts';

export interface DatabaseResult {
  backup: string;
  /** What it is called now. */
  database: string;
  /** What the database that had this name is called now; null: there was none. */
  kept: string | null;
  roles: string[];
  tables: number;
  /** Rows that were counted; 0 where nothing was compared. */
  rows: number;
  seconds: { fetch: number; load: number; check: number; whole: number };
  warnings: string[];
}

/**
 * Restores a database under a name of its own, compares it with the backup, and only then gives it the name that was asked
 * for. What fails before that takes it away again. Throws partly_done when the server refused something, or when the
 * comparison found a difference: the database is there then, under a name that the error tells, and nothing was replaced.
 */
export async function restoreDatabase(context: RestoreContext, plan: DatabasePlan): Promise<DatabaseResult> {
  const { log } = context;
  const clock = stopwatch();
  return await withWorkDirectory(context.workDirectory, 'restore', async (directory) => {
    const fetching = fetchContext(context, plan.programs);
    const parts = await fetchForLoad(fetching, plan.backup, directory);
    const statements = await readDatabaseStatements(
      fetching,
      parts.dump,
      plan.backup.manifest.logical,
      ident(plan.working.name),
    );
    refuseMissingTablespaces(plan, statements);
    const count = parts.rows.length;
    const later = count === 0 ? '' : `; the rows of ${String(count)} large tables come from the store`;
    log.info(
      { event: 'restore_fetched', backup: plan.backup.id, seconds: clock.lap('fetch') },
      `fetched backup ${plan.backup.id}; every file is what was written${later}`,
    );
    await showRun(context.db, plan.working.token);
    await dropAbandoned(context.db, log);
    await makeRoles(context, plan);
    try {
      await makeDatabase(context, plan, statements);
      return await fill(context, plan, { parts, statements, clock });
    } catch (error) {
      const isLeft = context.signal.aborted || isConnectionLoss(error) || isKept(error);
      if (!isLeft) await dropWorking(context.db, log, plan.working.name);
      throw error;
    }
  });
}

type Lap = 'fetch' | 'load' | 'check';

function stopwatch() {
  const started = performance.now();
  let last = started;
  const laps: Record<Lap, number> = { fetch: 0, load: 0, check: 0 };
  return {
    lap: (name: Lap) => {
      const now = performance.now();
      laps[name] = (now - last) / 1000;
      last = now;
      return laps[name];
    },
    result: () => ({ ...laps, whole: (performance.now() - started) / 1000 }),
  };
}

/** Nothing is written yet. */
function refuseMissingTablespaces(plan: DatabasePlan, statements: DatabaseStatements): void {
  const missing = statements.tablespaces.filter((name) => !plan.server.tablespaces.includes(name));
  if (missing.length === 0 || plan.wish.partial) return;
  throw new DbopsError(
    'refused',
    `tablespaces of the database are missing here: ${missing.map((name) => `"${visible(name)}"`).join(', ')}`,
    {
      hint: "Create them (CREATE TABLESPACE ... LOCATION ...), or let everything lie in the database's own by --partial.",
    },
  );
}

/** All or none: a role without its memberships would be taken as it is by the next run. */
async function makeRoles(context: RestoreContext, plan: DatabasePlan): Promise<void> {
  const { names, statements } = plan.roles;
  if (names.length === 0) return;
  await context.db.executeTransaction(statements);
  context.applied.changes += 1;
  context.log.info(
    { event: 'restore_roles_made', roles: names },
    `made roles that were missing: ${names.map(visible).join(', ')}`,
  );
}

async function makeDatabase(
  context: RestoreContext,
  plan: DatabasePlan,
  statements: DatabaseStatements,
): Promise<void> {
  const { db } = context;
  await db.execute(withoutTablespace(statements.create, plan.server.tablespaces));
  await db.execute(markStatement(plan.working, plan.backup.id, `into "${plan.target}"`));
}

interface Filling {
  parts: DumpInParts;
  statements: DatabaseStatements;
  clock: ReturnType<typeof stopwatch>;
}

async function fill(context: RestoreContext, plan: DatabasePlan, own: Filling): Promise<DatabaseResult> {
  const { statements, clock } = own;
  const warnings = [...plan.warnings];
  // Functions that indexes and checks call may need the settings of the database.
  const early = statements.properties.filter((item) => !isOwner(item));
  await applyProperties(context, early, warnings);
  const errors = await load(context, plan, own);
  clock.lap('load');
  const checked = await check(context, plan, warnings);
  clock.lap('check');
  await applyProperties(context, statements.properties.filter(isOwner), warnings);
  const isGood = errors.count === 0 && checked.differences.length === 0;
  const kept = isGood ? await giveName(context, plan, statements) : undefined;
  if (!isGood) throw await keepAside(context, plan, statements, problemsOf(errors, checked));
  return {
    backup: plan.backup.id,
    database: plan.target,
    kept: kept ?? null,
    roles: plan.roles.names,
    tables: plan.backup.manifest.logical.tables.length,
    rows: checked.rows,
    seconds: clock.result(),
    warnings,
  };
}

/** Who gives the database away may rename it no more: the last of all. */
function isOwner(statement: string): boolean {
  return / OWNER TO \S+$/.test(statement);
}

/** What the server does not know, or does not let this role do, is told: the rows matter more. */
async function applyProperties(
  context: RestoreContext,
  statements: string[],
  warnings: string[],
): Promise<void> {
  for (const statement of statements) {
    try {
      await context.db.execute(statement);
    } catch (error) {
      if (!(error instanceof DbopsError) || isConnectionLoss(error) || context.signal.aborted) throw error;
      warnings.push(`a setting of the database is left out: ${error.message}`);
    }
  }
}

async function load(context: RestoreContext, plan: DatabasePlan, own: Filling): Promise<RestoreErrors> {
  const { server, working, backup, programs } = plan;
  const lacksTablespace = own.statements.tablespaces.some((name) => !server.tablespaces.includes(name));
  const errors = await loadInParts(
    context,
    fetchContext(context, programs),
    { ...own.parts, backup },
    { database: working.name, programs, maintenanceMemoryBytes: server.maintenanceMemoryBytes },
    lacksTablespace ? ['--no-tablespaces'] : [],
  );
  context.log.info(
    { event: 'restore_loaded', backup: backup.id, errors: errors.count },
    `loaded backup ${backup.id}, errors: ${String(errors.count)}`,
  );
  return errors;
}

async function check(context: RestoreContext, plan: DatabasePlan, warnings: string[]): Promise<CheckResult> {
  const { logical } = plan.backup.manifest;
  const { name } = plan.working;
  const checked = await analyzeAndCheck(context, name, logical, plan.wish.verify);
  const db = await context.openDatabase(name);
  try {
    warnings.push(...(await collationWarnings(db, logical)));
    return checked;
  } finally {
    await db.close();
  }
}

function problemsOf(errors: RestoreErrors, checked: CheckResult): string[] {
  return [
    ...(errors.count === 0
      ? []
      : [`the server refused ${String(errors.count)} statements:`, errors.describe()]),
    ...checked.differences.map((item) => item.text),
  ];
}

/** Returns what the database that had this name is called now. */
async function giveName(
  context: RestoreContext,
  plan: DatabasePlan,
  statements: DatabaseStatements,
): Promise<string | undefined> {
  const { working, target, kept } = plan;
  try {
    if (kept === undefined) await renameDatabase(context, working.name, target);
    else await swapDatabases(context, { working: working.name, target, kept });
  } catch (error) {
    if (!(error instanceof DbopsError) || isConnectionLoss(error) || context.signal.aborted) throw error;
    throw await keepAside(context, plan, statements, [error.message, error.detail ?? '']);
  }
  context.applied.changes += 1;
  await unmark(context, target, working.name, statements);
  context.log.info(
    { event: 'database_restored', backup: plan.backup.id, database: target, kept: kept ?? null },
    `restored database "${visible(target)}" from backup ${plan.backup.id}`,
  );
  return kept;
}

/** Its own comment takes the place of the mark. Not worth a failure: the database has its name. */
async function unmark(
  context: RestoreContext,
  name: string,
  working: string,
  statements: DatabaseStatements,
): Promise<void> {
  const own = statements.comment?.replace(ident(working), () => ident(name));
  try {
    await context.db.execute(own ?? `comment on database ${ident(name)} is null`);
  } catch (error) {
    context.log.warn(
      { event: 'comment_failed', reason: String(error) },
      `the comment of database "${visible(name)}" could not be set`,
    );
  }
}

/**
 * A database that is not quite what the backup holds is left for whoever needs what is in it, under a name that no run
 * will drop. Returns the error that tells of it.
 */
async function keepAside(
  context: RestoreContext,
  plan: DatabasePlan,
  statements: DatabaseStatements,
  problems: string[],
): Promise<DbopsError> {
  const { working, target, kept, backup } = plan;
  const taken = new Set((await listDatabases(context.db)).map((row) => row.name));
  const stem =
    kept === undefined ? target : suffixed(target, `_restored_${backup.id.slice(0, 15).toLowerCase()}`);
  let name = stem;
  for (let number = 2; taken.has(name); number += 1) name = suffixed(stem, `_${String(number)}`);
  await renameDatabase(context, working.name, name);
  context.applied.changes += 1;
  await unmark(context, name, working.name, statements);
  const untouched = kept === undefined ? '' : `; database "${visible(target)}" was not touched`;
  return new DbopsError('partly_done', `backup ${backup.id} was not restored without errors${untouched}`, {
    detail: problems.filter((line) => line !== '').join('\n'),
    hint: `What could be restored is in database "${visible(name)}": take what you need from it, or mend the cause, drop it and restore once more.`,
  });
}

function isKept(error: unknown): boolean {
  return error instanceof DbopsError && error.code === 'partly_done';
}
