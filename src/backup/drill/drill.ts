import { DbopsError } from '../../errors.ts';
import { runHook } from '../../process/hook.ts';
import { getServerTime } from '../../sql/doctor.ts';
import { recordDrill } from '../../sql/drill.ts';
import { findStateVersion, stateVersion } from '../../sql/state.ts';
import { newId } from '../../storage/id.ts';
import type { Store } from '../../storage/store.ts';
import { putMark } from '../catalogue/marks.ts';
import { withPin } from '../catalogue/pin.ts';
import { drillName } from '../place.ts';
import { DrillClock } from './clock.ts';
import type { DrillContext, Drilled, Drilling } from './context.ts';
import { drillLogical } from './logical.ts';
import { planDrill, type DrillWish } from './plan.ts';
import { drillCluster } from './physical.ts';
import { unpackBase } from './base.ts';
import { unpackPgbackrest } from './pgbackrest.ts';
import { hasPassed, judgePromise, promiseFor, prove, type DrillReport, type Proof } from './report.ts';
import { proveStored, watchReads, type ReadObjects } from './stored.ts';

/**
 * Restores a backup where nobody else works, and proves what came back. What is found wrong is in the report; thrown is
 * what kept the drill from beginning: no backup, no store, no program, no room. Either is told to backup.onFailure.
 */
export async function runDrill(context: DrillContext, wish: DrillWish): Promise<DrillReport> {
  try {
    const report = await attempt(context, wish);
    await tell(context, report);
    return report;
  } catch (error) {
    const known = error instanceof DbopsError ? error : undefined;
    const message = error instanceof Error ? error.message : String(error);
    const code = known?.code ?? 'bug';
    context.log.error({ event: 'drill_failed', code }, `no drill: ${message}`);
    if (!context.signal.aborted)
      await callHook(context, { error: { code, message, detail: known?.detail, hint: known?.hint } });
    throw error;
  }
}

async function attempt(context: DrillContext, wish: DrillWish): Promise<DrillReport> {
  const { log, source } = context;
  const { backup, isOfSource } = await planDrill(context, wish);
  const read: ReadObjects = { keys: new Set(), bytes: 0, damaged: [] };
  const drilling: Drilling = {
    ...context,
    drill: newId(),
    backup: { ...backup, stores: backup.stores.map((store) => watchReads(store, read)) },
    openStore: async (name) => watchReads(await context.openStore(name), read),
    log: notingDamage(log, read),
    source:
      isOfSource || typeof source === 'string'
        ? source
        : 'the database of the configuration belongs to another cluster',
    begunAt: typeof source === 'string' ? new Date() : await getServerTime(source.db),
    clock: new DrillClock(),
    read,
    keep: wish.keep,
    warnings: [],
  };
  log.info(
    { event: 'drill_started', drill: drilling.drill, backup: backup.id, kind: backup.manifest.kind },
    `drill ${drilling.drill} of backup ${backup.id} (${backup.manifest.kind}, finished ${backup.manifest.finishedAt})`,
  );
  const startedAt = new Date();
  const report = await withPin(
    { stores: backup.stores, place: backup.place },
    { what: 'drill', host: context.host, log },
    async () => {
      const drilled = await restoreIt(drilling, wish);
      // What was read where something failed was perhaps not what it should have been.
      if (!hasPassed(drilled.proofs)) read.keys.clear();
      const stored = await prove('checksums', () =>
        drilling.clock.time('verify', () => proveStored(drilling)),
      );
      return makeReport(drilling, startedAt, { ...drilled, proofs: [stored, ...drilled.proofs] });
    },
  );
  await store(context, backup, report);
  return report;
}

async function restoreIt(drilling: Drilling, wish: DrillWish): Promise<Drilled> {
  const { logical, pgbackrest } = drilling.backup.manifest;
  if (logical !== null) return await drillLogical(drilling, logical);
  if (pgbackrest === null) return await drillCluster(drilling, wish, unpackBase);
  return await drillCluster(drilling, wish, (own, target, place) =>
    unpackPgbackrest(own, pgbackrest, target, place),
  );
}

function wasRestored(proofs: Proof[]): boolean {
  return !proofs.some((proof) => proof.name === 'restore' && proof.outcome === 'failed');
}

/** A copy that was passed over is damaged all the same: a restore warns of it, and goes on with the next store's. */
function notingDamage(log: DrillContext['log'], read: ReadObjects): DrillContext['log'] {
  return {
    ...log,
    warn: (fields, message) => {
      if ((fields as { event?: unknown }).event === 'restore_copy_damaged') read.damaged.push(message);
      log.warn(fields, message);
    },
  };
}

function makeReport(drilling: Drilling, startedAt: Date, drilled: Drilled): DrillReport {
  const { backup, settings, clock, source } = drilling;
  const { kind, database } = backup.manifest;
  const { rtoSeconds, rpoSeconds } = promiseFor(kind, settings.backup.promise);
  const { restoreSeconds, seconds } = clock;
  const rto = wasRestored(drilled.proofs) ? restoreSeconds : null;
  const rpo = wasRestored(drilled.proofs) ? drilled.ageSeconds : null;
  const proofs: Proof[] = [
    ...drilled.proofs,
    judgePromise('rto', rto, rtoSeconds, 'nothing was restored'),
    judgePromise('rpo', rpo, rpoSeconds, 'nobody can tell what the last moment is that came back'),
  ];
  return {
    formatVersion: 1,
    backup: backup.id,
    at: new Date().toISOString(),
    passed: hasPassed(proofs),
    restoreSeconds: rto,
    replaySeconds: drilled.replayedSegments === null ? null : seconds.restore,
    replayedSegments: drilled.replayedSegments,
    drill: drilling.drill,
    kind,
    database,
    startedAt: startedAt.toISOString(),
    by: { dbops: drilling.version, host: drilling.host, osUser: drilling.osUser },
    server: drilled.server,
    withoutSource: typeof source === 'string' ? source : null,
    target: drilled.target,
    reached: drilled.reached,
    seconds,
    fetchedBytes: drilled.fetchedBytes,
    fetchedBytesPerSecond:
      seconds.fetch === null || seconds.fetch === 0 ? null : Math.round(drilled.fetchedBytes / seconds.fetch),
    rto: { seconds: rto, promisedSeconds: rtoSeconds },
    rpo: {
      seconds: rpo,
      promisedSeconds: rpoSeconds,
      recoveredTo: drilled.recoveredTo?.toISOString() ?? null,
    },
    proofs,
    warnings: drilling.warnings,
    keptIn: drilled.keptIn,
  };
}

/** Lays the report beside the backup in each store, and tells the ledger. Neither changes what the drill found. */
async function store(
  context: DrillContext,
  backup: { id: string; place: string; stores: Store[] },
  report: DrillReport,
): Promise<void> {
  const { log, settings, source } = context;
  for (const to of backup.stores) {
    try {
      await putMark(to, backup.place, drillName, report);
    } catch (error) {
      if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
      log.warn(
        { event: 'drill_report_not_stored', store: to.name },
        `store "${to.name}" takes no report of the drill: ${error.message}`,
      );
    }
  }
  if (typeof source === 'string') return;
  try {
    if ((await findStateVersion(source.db, settings.stateSchema)) < stateVersion) return;
    await recordDrill(source.db, settings.stateSchema, backup.id, {
      at: new Date(report.at),
      passed: report.passed,
    });
    source.applied.changes += 1;
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
    log.warn({ event: 'ledger_not_told' }, `the ledger does not know of this drill: ${error.message}`);
  }
}

async function tell(context: DrillContext, report: DrillReport): Promise<void> {
  const { backup, kind, passed } = report;
  const failed = report.proofs.filter((proof) => proof.outcome === 'failed');
  const fields = { drill: report.drill, backup, kind, passed, restoreSeconds: report.restoreSeconds };
  context.log.info(
    { event: 'drill_completed', ...fields },
    `drill of backup ${backup}: ${passed ? 'passed' : 'failed'}`,
  );
  if (passed) return;
  const names = failed.map((proof) => proof.name);
  context.log.error(
    { event: 'drill_failed', ...fields, failed: names },
    `backup ${backup} (${kind}) failed its drill: ${names.join(', ')}`,
  );
  await callHook(context, { backup, kind, failed });
}

async function callHook(context: DrillContext, more: object): Promise<void> {
  const { settings, log, host } = context;
  const command = settings.backup.onFailure;
  if (command === undefined) return;
  const problem = await runHook(command, {
    event: 'drill_failed',
    at: new Date().toISOString(),
    host,
    ...more,
  });
  if (problem !== undefined) log.warn({ event: 'hook_failed' }, `"backup.onFailure" failed: ${problem}`);
}
