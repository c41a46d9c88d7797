import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import type { Tool } from '../../../process/tools.ts';
import { withWorkDirectory } from '../../../process/work-directory.ts';
import { getRecoverySettings, getServerClock } from '../../../sql/physical.ts';
import { withPin } from '../../catalogue/pin.ts';
import { fetchFiles } from '../../fetch.ts';
import type { PhysicalPart } from '../../manifest.ts';
import { parseLsn, segmentOfLsn } from '../../wal/segment.ts';
import type { Made, Maker, Making } from '../maker.ts';
import { segmentsBetween, waitForSegments } from './archived-wal.ts';
import { baseFile, copyCluster, manifestFile, type CopiedCluster } from './copy.ts';
import { withLease } from './lease.ts';
import { tooOld, type Parent } from './parent.ts';
import { planPhysical, type PhysicalPlan } from './plan.ts';

/** Makes base backups, incremental ones, and snapshots: base backups with a reason and a retention of their own. */
export const physicalMaker: Maker<PhysicalPlan> = {
  plan: planPhysical,
  make,
  hold: async ({ context, id, stores }, { systemIdentifier, parent }, work) => {
    const { host, log } = context;
    return await withLease(context, { id, systemIdentifier, stores }, ({ check }) =>
      parent === undefined ? work(check) : withPin(parent, { what: 'backup', host, log }, () => work(check)),
    );
  },
};

async function make(making: Making, plan: PhysicalPlan): Promise<Made> {
  const { context } = making;
  const { db, log } = context;
  if (plan.wal.method === 'included')
    log.info({ event: 'backup_includes_wal' }, `the WAL that it needs is taken along, since ${plan.wal.why}`);
  // BASE_BACKUP's own times are in backup_label in a zone of the server's log: its clock before and after is plainer.
  const startedAt = await getServerClock(db);
  const copied =
    plan.parent === undefined
      ? await copyCluster(making, plan, { parentManifest: undefined })
      : await copyOnParent(making, plan, plan.parent);
  refuseTooSmall(making, plan, copied);
  const physical = await describe(making, plan, copied, startedAt);
  if (plan.wal.method === 'archive') {
    const { startLsn, stopLsn, timeline, walSegmentBytes } = physical;
    const names = segmentsBetween(timeline, parseLsn(startLsn), parseLsn(stopLsn), walSegmentBytes);
    await waitForSegments(context, plan.systemIdentifier, names);
  }
  const tools = Object.fromEntries(
    Object.values<Tool | undefined>({ ...plan.tools })
      .filter((tool) => tool !== undefined)
      .map((tool) => [tool.name, tool.version ?? 'unknown']),
  );
  return { tools, logical: null, physical, pgbackrest: null };
}

/** The parent's own list of files is what the server compares with. */
async function copyOnParent(making: Making, plan: PhysicalPlan, parent: Parent): Promise<CopiedCluster> {
  const { context } = making;
  return await withWorkDirectory(context.workDirectory, 'base', async (folder) => {
    const path = join(folder, 'parent_manifest');
    const fetching = { ...context, zstd: plan.tools.zstd.path };
    await fetchFiles(fetching, parent, [{ name: parent.physical.manifestFile, path, plain: false }]);
    try {
      return await copyCluster(making, plan, { parentManifest: path });
    } catch (error) {
      const words = error instanceof DbopsError ? (error.detail ?? '') : '';
      throw /WAL summar/i.test(words) ? tooOld(parent.id, words) : error;
    }
  });
}

async function describe(
  { context }: Making,
  plan: PhysicalPlan,
  { manifest, stoppedAt }: CopiedCluster,
  startedAt: Date,
): Promise<PhysicalPart> {
  const { facts, tablespaces, databases, wal, parent, systemIdentifier } = plan;
  const { startLsn, endLsn, timeline, endTimeline } = manifest;
  if (manifest.systemIdentifier !== undefined && manifest.systemIdentifier !== systemIdentifier) {
    throw new DbopsError(
      'tool_failed',
      'pg_basebackup copied another cluster than the one that was asked for',
      {
        detail: `${manifest.systemIdentifier}, and not ${systemIdentifier}`,
      },
    );
  }
  const size = facts.walSegmentBytes;
  return {
    timeline,
    startLsn,
    stopLsn: endLsn,
    startedAt: startedAt.toISOString(),
    stoppedAt: stoppedAt.toISOString(),
    startWal: segmentOfLsn(timeline, parseLsn(startLsn), size),
    stopWal: segmentOfLsn(endTimeline, parseLsn(endLsn) - 1n, size),
    walSegmentBytes: size,
    wal: wal.method,
    parent: parent?.id ?? null,
    tablespaces: tablespaces.map((item) => ({ ...item, file: `${item.oid}.tar.zst` })),
    baseFile,
    manifestFile,
    dataChecksums: facts.dataChecksums,
    settings: await getRecoverySettings(context.db),
    databases,
  };
}

/** A cluster always has data; how much of it an incremental one sends says nothing. */
function refuseTooSmall({ context }: Making, plan: PhysicalPlan, { manifest, base }: CopiedCluster): void {
  const { minimumBytes } = context.settings.backup;
  const isTooSmall = manifest.files === 0 || base.sizeBytes === 0;
  if (!isTooSmall && (plan.parent !== undefined || manifest.bytes >= minimumBytes)) return;
  throw new DbopsError(
    'tool_failed',
    `the base backup has ${String(manifest.files)} files with ${String(manifest.bytes)} bytes, and backup.minimumSize is ${String(minimumBytes)}`,
    { hint: 'Is this the cluster that you mean? See "backup.minimumSize" of the configuration.' },
  );
}
