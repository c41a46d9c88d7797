import os from 'node:os';
import { applyHold, holdChange, planHold, type HoldPlan } from '../../archive/change-hold.ts';
import { findArchive } from '../../archive/catalogue.ts';
import type { HoldEntry } from '../../catalogue/hold.ts';
import { ownPlaces, partsOfPlace } from '../../archive/survey.ts';
import { DbopsError } from '../../errors.ts';
import { confirm } from '../../output/confirm.ts';
import type { JobContext } from '../../partition/context.ts';
import { stateChanges } from '../../partition/retire/state-changes.ts';
import { renderScript } from '../../plan/render.ts';
import { displayName, visible } from '../../sql/quote.ts';
import {
  defineCommand,
  type CommandContext,
  type CommandDefinition,
  type Example,
  type Result,
} from '../command.ts';
import { addDryRun, addYes } from '../options.ts';
import { jobIfReachable, openChosen, storesOf } from '../stores.ts';

interface Options {
  reason?: string;
}

/** The two commands that put a hold on an archive and take it off. */
export function defineHold(
  action: HoldEntry['action'],
  help: { examples: Example[]; notes: string },
): CommandDefinition {
  return defineCommand<Options>({
    changes: true,
    ...help,
    declare(cmd) {
      cmd.argument('<id>', 'the archive, by its id or the beginning of it');
      cmd.option('--reason <text>', 'why; it is kept with the archive');
      if (action === 'release') addYes(cmd);
      addDryRun(cmd);
    },
    run: (context) => run(action, context),
  });
}

async function run(action: HoldEntry['action'], context: CommandContext<Options>): Promise<Result> {
  const { args, options, signal, log, settings } = context;
  const reason = options.reason?.trim() ?? '';
  if (reason === '') {
    throw new DbopsError('usage', `${action === 'hold' ? 'a hold' : 'a release'} needs a reason`, {
      hint: 'Give --reason "case 4711": it is kept with the archive.',
    });
  }
  const stores = storesOf(context);
  try {
    const problems: DbopsError[] = [];
    const found = await findArchive(await openChosen(context, stores, undefined), args[0] ?? '', {
      signal,
      onProblem: (_store, error) => problems.push(error),
    });
    const [problem] = problems;
    // Copies that can be asked are protected; a release is for all of them, or for none.
    if (action === 'release' && problem !== undefined) throw problem;
    const reached = await jobIfReachable(context, found.id);
    const plan = await planHold(found, entryOf(action, reason, reached.job), signal);
    if (plan.stores.length === 0) return { data: dataOf(plan), text: `archive ${found.id} is not held` };
    const warnings = await addLedger(plan, reached, settings.stateSchema);
    if (options.dryRun === true) return { data: dataOf(plan), text: textOf(plan), warnings };
    if (action === 'release')
      await confirm(textOf(plan), `release archive ${found.id}`, { yes: options.yes === true, signal });
    await reached.job?.history.begin(reached.job.db, { archive: found.id, reason });
    await applyHold(plan, {
      schema: settings.stateSchema,
      db: reached.job?.db,
      applied: context.applied,
      log,
      signal,
      deadlineMs: settings.lockDeadlineMs,
    });
    if (problem !== undefined) throw problem;
    const what = `archive ${found.id} of ${displayName(found.manifest.partition)}`;
    const names = plan.stores.map((store) => store.name).join(', ');
    return {
      data: dataOf(plan),
      text: `${what} is ${action === 'hold' ? 'held' : 'released'} in ${names}`,
      warnings,
    };
  } finally {
    await stores.closeAll();
  }
}

/** The ledger's change, where the database at hand is the one that the archive came from. */
async function addLedger(
  plan: HoldPlan,
  reached: Awaited<ReturnType<typeof jobIfReachable>>,
  schema: string,
): Promise<string[]> {
  if (reached.job === undefined) return [`the ledger does not know of it: ${reached.reason}`];
  const { db } = reached.job;
  if (!(await ownPlaces(db))(partsOfPlace(plan.found.place))) return [];
  plan.changes = [...(await stateChanges(db, schema)), holdChange(schema, plan)];
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
  return { archive: found.id, ...entry, stores: stores.map((store) => store.name), changes };
}

function textOf(plan: HoldPlan): string {
  const { found, entry, stores } = plan;
  const lines = stores.map(
    (store) => `-- ${entry.action} in ${store.name}: ${store.url}/${visible(found.place)}hold.json`,
  );
  return `${renderScript(plan.changes, `archive ${entry.action} ${found.id}: ${entry.reason}`)}${lines.join('\n')}\n`;
}
