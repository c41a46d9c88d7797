import os from 'node:os';
import { applyHold, holdChange, planHold, type Holdable, type HoldPlan } from '../catalogue/change-hold.ts';
import type { HoldEntry } from '../catalogue/hold.ts';
import type { SearchOptions } from '../catalogue/stored.ts';
import { DbopsError } from '../errors.ts';
import { confirm } from '../output/confirm.ts';
import type { JobContext } from '../partition/context.ts';
import { stateChanges } from '../partition/retire/state-changes.ts';
import type { Db } from '../pg/connection.ts';
import { renderScript } from '../plan/render.ts';
import { visible } from '../sql/quote.ts';
import type { Store } from '../storage/store.ts';
import {
  defineCommand,
  type CommandContext,
  type CommandDefinition,
  type Example,
  type Result,
} from './command.ts';
import { addDryRun, addYes } from './options.ts';
import { jobIfReachable, openChosen, storesOf } from './stores.ts';

interface Options {
  reason?: string;
}

/** What tells the holds of archives and of backups apart. */
export interface HoldSort {
  noun: 'archive' | 'backup';
  find: (stores: Store[], id: string, options: SearchOptions) => Promise<Holdable>;
  /** Whether the ledger of this database is the one that knows it. */
  isOwn: (db: Db, place: string) => Promise<boolean>;
  /** Writes the reason, or null, into its row of the ledger. */
  sql: (schema: string, id: string, reason: string | null) => string;
  /** Whether the ledger says that it is held. */
  isHeld: (db: Db, schema: string, id: string) => Promise<boolean>;
  /** Whether the ledger says that it is being removed. */
  isGoing: (db: Db, schema: string, id: string) => Promise<boolean>;
}

/** The two commands that put a hold on something and take it off. */
export function defineHold(
  sort: HoldSort,
  action: HoldEntry['action'],
  help: { examples: Example[]; notes: string },
): CommandDefinition {
  return defineCommand<Options>({
    changes: true,
    ...help,
    declare(cmd) {
      cmd.argument('<id>', `the ${sort.noun}, by its id or the beginning of it`);
      cmd.option('--reason <text>', `why; it is kept with the ${sort.noun}`);
      if (action === 'release') addYes(cmd);
      addDryRun(cmd);
    },
    run: (context) => run(sort, action, context),
  });
}

async function run(
  sort: HoldSort,
  action: HoldEntry['action'],
  context: CommandContext<Options>,
): Promise<Result> {
  const { args, options, signal, log, settings } = context;
  const reason = options.reason?.trim() ?? '';
  if (reason === '') {
    throw new DbopsError('usage', `${action === 'hold' ? 'a hold' : 'a release'} needs a reason`, {
      hint: `Give --reason "case 4711": it is kept with the ${sort.noun}.`,
    });
  }
  const stores = storesOf(context);
  try {
    const problems: DbopsError[] = [];
    const found = await sort.find(await openChosen(context, stores, undefined), args[0] ?? '', {
      signal,
      onProblem: (_store, error) => problems.push(error),
    });
    const [problem] = problems;
    // Copies that can be asked are protected; a release is for all of them, or for none.
    if (action === 'release' && problem !== undefined) throw problem;
    const reached = await jobIfReachable(context, found.id);
    const plan = await planHold(found, entryOf(action, reason, reached.job), signal);
    if (plan.stores.length === 0 && !(await isHeldInLedger(sort, plan, reached.job, settings.stateSchema)))
      return { data: dataOf(plan), text: `${sort.noun} ${found.id} is not held` };
    const warnings = await addLedger(sort, plan, reached, settings.stateSchema);
    if (options.dryRun === true) return { data: dataOf(plan), text: textOf(plan), warnings };
    if (action === 'release')
      await confirm(textOf(plan), `release ${sort.noun} ${found.id}`, { yes: options.yes === true, signal });
    await reached.job?.history.begin(reached.job.db, { [sort.noun]: found.id, reason });
    await applyHold(plan, {
      db: reached.job?.db,
      isGoing: (db) => sort.isGoing(db, settings.stateSchema, found.id),
      applied: context.applied,
      log,
      signal,
      deadlineMs: settings.lockDeadlineMs,
    });
    if (problem !== undefined) throw problem;
    const names = plan.stores.map((store) => store.name).join(', ') || 'the ledger';
    return {
      data: dataOf(plan),
      text: `${found.label} is ${action === 'hold' ? 'held' : 'released'} in ${names}`,
      warnings,
    };
  } finally {
    await stores.closeAll();
  }
}

/** A hold of which only the ledger knows keeps a backup all the same: its stores were replaced, or somebody removed the file. */
async function isHeldInLedger(
  sort: HoldSort,
  { found, entry }: HoldPlan,
  job: JobContext | undefined,
  schema: string,
): Promise<boolean> {
  if (job === undefined || entry.action === 'hold' || !(await sort.isOwn(job.db, found.place))) return false;
  return await sort.isHeld(job.db, schema, found.id);
}

/** The ledger's change, where the database at hand is the one that it came from. */
async function addLedger(
  sort: HoldSort,
  plan: HoldPlan,
  reached: Awaited<ReturnType<typeof jobIfReachable>>,
  schema: string,
): Promise<string[]> {
  if (reached.job === undefined) return [`the ledger does not know of it: ${reached.reason}`];
  const { db } = reached.job;
  const { found, entry } = plan;
  if (!(await sort.isOwn(db, found.place))) return [];
  const sql = sort.sql(schema, found.id, entry.action === 'hold' ? entry.reason : null);
  plan.changes = [...(await stateChanges(db, schema)), holdChange(plan, sql)];
  return [];
}

function entryOf(action: HoldEntry['action'], reason: string, job: JobContext | undefined): HoldEntry {
  return {
    action,
    reason,
    at: new Date().toISOString(),
    host: os.hostname(),
    osUser: os.userInfo().username,
    databaseUser: job?.db.server.user ?? null,
  };
}

function dataOf(plan: HoldPlan): unknown {
  const { found, entry, stores, changes } = plan;
  return { [found.noun]: found.id, ...entry, stores: stores.map((store) => store.name), changes };
}

function textOf(plan: HoldPlan): string {
  const { found, entry, stores } = plan;
  const lines = stores.map(
    (store) => `-- ${entry.action} in ${store.name}: ${store.url}/${visible(found.place)}hold.json`,
  );
  return `${renderScript(plan.changes, `${found.noun} ${entry.action} ${found.id}: ${entry.reason}`)}${lines.join('\n')}\n`;
}
