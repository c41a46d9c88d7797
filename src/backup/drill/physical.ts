import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Account } from '../../process/account.ts';
import { clusterOwner, giveTo } from '../cluster/owner.ts';
import type { RunningServer } from '../cluster/server.ts';
import { recover, type Reached, type RecoverOptions } from '../restore/pitr/recover.ts';
import { describeTarget, type Target } from '../restore/pitr/target.ts';
import { dataName, spoolOf, withDrillDirectory } from './directory.ts';
import { aimAt, proveMarks, proveTarget, type Aim } from './aim.ts';
import type { Drilled, Drilling } from './context.ts';
import { openRestored } from './opened.ts';
import { provePages } from './proofs/files.ts';
import { proveOwnChecks } from './proofs/own-checks.ts';
import { provePolicies } from './proofs/policies.ts';
import { proveCollations, proveExtensionFiles, proveIndexes } from './proofs/structure.ts';
import { reasonText, type Proof } from './report.ts';
import { harmlessSettings } from './scratch.ts';
import { unmarkSource } from './source.ts';

/** Where a drill unpacks to. */
export interface DrillPlace {
  /** Of the drill; only `account` can enter it. */
  directory: string;
  /** Below it; not there yet. */
  dataDirectory: string;
  account: Account;
}

/** A data directory that is ready for its recovery. */
export interface Unpacked {
  /** Path of the program. */
  postgres: string;
  /** Whether it is to stop before the end of the WAL. */
  hasStop: boolean;
  /** See RecoverOptions. */
  checkEnd?: RecoverOptions['checkEnd'];
  /** The end of the backup itself, which comes back where nothing was committed after it. */
  endsAt: Date;
  /** Undefined: nobody has recorded it. */
  dataChecksums: boolean | undefined;
  /** Of its own server run. */
  settings: Record<string, string>;
  /** Compares the files with what PostgreSQL or pgBackRest knows of them. */
  proveFiles: () => Promise<Proof>;
  /** Writes what the recovery needs into the directory; after the files were compared. */
  configure: () => Promise<void>;
}

/** Brings a backup of a cluster into an empty place. */
export type Unpack = (drilling: Drilling, target: Target, place: DrillPlace) => Promise<Unpacked>;

/** Restores a copy of the cluster's files on a scratch cluster, recovers it to a target, and proves it. */
export async function drillCluster(
  drilling: Drilling,
  wish: { to: string | undefined },
  unpack: Unpack,
): Promise<Drilled> {
  const { drill, host, keep, log, source } = drilling;
  const account = await clusterOwner(drilling.directory, undefined);
  const spool = spoolOf(drilling);
  const aim = await aimAt(drilling, wish);
  try {
    return await withDrillDirectory(
      { parent: drilling.directory, drill, account, host, keep, log, spool },
      (directory) =>
        restoreAndProve(
          drilling,
          aim,
          { directory, dataDirectory: join(directory, dataName), account },
          unpack,
        ),
    );
  } finally {
    if (aim.marks !== undefined && typeof source !== 'string') await unmarkSource(source, drill);
  }
}

/** A restore that fails is what the drill was for: it becomes a proof, and there is nothing more to look at. */
async function restoreAndProve(
  drilling: Drilling,
  aim: Aim,
  place: DrillPlace,
  unpack: Unpack,
): Promise<Drilled> {
  const { backup, read, clock, keep } = drilling;
  const proofs: Proof[] = [...aim.proofs];
  const drilled: Drilled = {
    server: 'scratch',
    target: describeTarget(aim.target),
    reached: null,
    replayedSegments: null,
    fetchedBytes: 0,
    recoveredTo: null,
    ageSeconds: null,
    proofs,
    keptIn: keep ? place.dataDirectory : null,
  };
  let server: RunningServer | undefined;
  try {
    const unpacked = await clock.time('fetch', () => unpack(drilling, aim.target, place));
    drilled.fetchedBytes = read.bytes;
    proofs.push(await clock.time('verify', unpacked.proveFiles));
    const started = await clock.time('restore', () => replay(drilling, unpacked, place));
    server = started.server;
    Object.assign(drilled, reachedOf(drilling, aim, unpacked, started.reached));
    const restored = await clock.time('open', () => openRestored(drilling, started.server));
    proofs.push({
      name: 'restore',
      outcome: 'ok',
      detail: `it takes connections and writes, from backup ${backup.id}`,
    });
    await clock.time('verify', async () => {
      proofs.push(proveTarget(aim, started.reached), ...(await proveMarks(drilling, aim, restored)));
      proofs.push(await proveExtensionFiles(restored), await proveCollations(restored));
      proofs.push(await proveIndexes(restored), await provePolicies(restored));
      proofs.push(...(await proveOwnChecks(restored, drilling.settings.backup.drill.checks)));
      await started.server.stop();
      proofs.push(await provePages(drilling, place.dataDirectory, unpacked.dataChecksums));
    });
  } catch (error) {
    proofs.push({ name: 'restore', outcome: 'failed', detail: reasonText(error) });
  } finally {
    await server?.stop();
  }
  return drilled;
}

async function replay(
  drilling: Drilling,
  unpacked: Unpacked,
  { directory, dataDirectory, account }: DrillPlace,
): Promise<{ server: RunningServer; reached: Reached }> {
  await unpacked.configure();
  // Only its owner can enter the directory of the drill: whatever the rules of the source say, that one is let in.
  const hba = join(directory, 'pg_hba.conf');
  await writeFile(hba, 'local all all trust\n', { mode: 0o600 });
  await giveTo(hba, account);
  return await recover({
    account,
    programs: unpacked,
    dataDirectory,
    port: undefined,
    action: 'promote',
    hasStop: unpacked.hasStop,
    checkEnd: unpacked.checkEnd,
    environment: drilling.environment,
    settings: { ...harmlessSettings, ...unpacked.settings, data_directory: dataDirectory, hba_file: hba },
    log: drilling.log,
    signal: drilling.signal,
  });
}

function reachedOf(drilling: Drilling, aim: Aim, unpacked: Unpacked, reached: Reached): Partial<Drilled> {
  const { lastCommitMicros, lsn, stoppedBy, segments } = reached;
  const recoveredTo =
    lastCommitMicros === null ? unpacked.endsAt : new Date(Number(lastCommitMicros / 1000n));
  return {
    reached: `${stoppedBy ?? 'the end of the archive'}, last record at LSN ${lsn ?? 'unknown'}`,
    replayedSegments: segments,
    recoveredTo,
    // With marks no clock matters: how long the archive took to get them was measured.
    ageSeconds:
      aim.marks?.archivedAfterSeconds ??
      Math.max(0, (drilling.begunAt.getTime() - recoveredTo.getTime()) / 1000),
  };
}
