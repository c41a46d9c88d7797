import { DbopsError } from '../../../errors.ts';
import { listSummaryStarts, type ClusterFacts } from '../../../sql/physical.ts';
import type { Store } from '../../../storage/store.ts';
import { findBackup } from '../../catalogue/find.ts';
import { surveyBackups, type SurveyedBackup } from '../../catalogue/survey.ts';
import type { BackupContext } from '../../context.ts';
import type { BackupManifest, PhysicalPart } from '../../manifest.ts';
import { parseLsn } from '../../wal/segment.ts';
import type { BackupWish } from '../maker.ts';

/** A backup that an incremental one builds on, and the stores that have it. */
export interface Parent {
  id: string;
  place: string;
  manifest: BackupManifest;
  physical: PhysicalPart;
  stores: Store[];
}

/** What an incremental backup can build on. pgBackRest has chains of its own. */
const kinds = ['base', 'incremental', 'snapshot'] as const;
const incrementalSince = 170_000;

interface Cluster {
  systemIdentifier: string;
  timeline: number;
  facts: ClusterFacts;
}

/**
 * The backup that was named, or the newest of this cluster and timeline whose files, and those of all that it builds on,
 * are in a store. Throws unsupported_version, refused with what to set or to make first, or backup_not_found.
 */
export async function findParent(
  context: BackupContext,
  wish: BackupWish,
  cluster: Cluster,
): Promise<Parent> {
  refuseWithoutSummaries(context, cluster.facts);
  const stores = await Promise.all(context.settings.backup.copies.map(context.openStore));
  const parent =
    wish.parent === null
      ? await newestParent(context, stores, cluster)
      : await namedParent(context, stores, wish.parent, cluster);
  await refuseTooOld(context, parent);
  return parent;
}

function refuseWithoutSummaries({ db }: BackupContext, { summarizeWal }: ClusterFacts): void {
  if (db.server.versionNum < incrementalSince) {
    throw new DbopsError(
      'unsupported_version',
      `incremental backups need PostgreSQL 17, and this server is ${db.server.version}`,
      { hint: 'Use --kind base, or --kind pgbackrest, which makes incremental backups of older servers.' },
    );
  }
  if (summarizeWal === 'on') return;
  throw new DbopsError('refused', 'incremental backups need summarize_wal, which is off on this server', {
    hint: 'Run: alter system set summarize_wal = on; select pg_reload_conf(); and then take a new base backup, which the first incremental one builds on.',
  });
}

async function namedParent(
  context: BackupContext,
  stores: Store[],
  id: string,
  cluster: Cluster,
): Promise<Parent> {
  const found = await findBackup(stores, id, { signal: context.signal });
  const backups = await listCandidates(context, stores, cluster);
  const candidate = backups.find((item) => item.id === found.id);
  const judged =
    candidate === undefined
      ? (whyUnfit(found.manifest, cluster, context.db.server.versionNum) ?? 'it holds no cluster')
      : await judge(context, backups, candidate, cluster);
  if (typeof judged !== 'string') return judged;
  throw new DbopsError('refused', `backup ${found.id} cannot be built on: ${judged}`, {
    hint: 'Leave --parent out to build on the newest one that fits, or take a new base backup: "dbops backup create --kind base".',
  });
}

async function newestParent(context: BackupContext, stores: Store[], cluster: Cluster): Promise<Parent> {
  const backups = await listCandidates(context, stores, cluster);
  for (const backup of backups.toReversed()) {
    const judged = await judge(context, backups, backup, cluster);
    if (typeof judged !== 'string') return judged;
    context.log.warn(
      { event: 'backup_unfit_parent', backup: backup.id },
      `not building on ${backup.id}: ${judged}`,
    );
  }
  throw new DbopsError('refused', 'there is no backup of this cluster and timeline to build on', {
    hint: 'Take a base backup first: "dbops backup create --kind base".',
  });
}

/** The backups of this cluster that others can build on, oldest first. */
async function listCandidates(
  context: BackupContext,
  stores: Store[],
  { systemIdentifier }: Cluster,
): Promise<SurveyedBackup[]> {
  const { log, signal, jobs } = context;
  const onProblem = (store: Store, error: DbopsError) =>
    log.warn({ event: 'backup_copy_unread', store: store.name }, error.message);
  const survey = await surveyBackups(stores, {
    systemIdentifier,
    database: null,
    kinds,
    signal,
    jobs,
    onProblem,
  });
  return survey.backups;
}

/** The backup as a parent, or why it is none. */
async function judge(
  { db, signal }: BackupContext,
  backups: SurveyedBackup[],
  { manifest, copies }: SurveyedBackup,
  cluster: Cluster,
): Promise<Parent | string> {
  if (manifest === undefined) return 'no manifest of it can be read';
  const unfit = whyUnfit(manifest, cluster, db.server.versionNum);
  if (unfit !== undefined) return unfit;
  const whole = await wholeCopies(copies, signal);
  const place = copies[0]?.place;
  if (whole.length === 0 || place === undefined) return 'no store has all of its files';
  const broken = await brokenLink(backups, manifest, signal);
  if (broken !== undefined) return broken;
  if (manifest.physical === null) return 'it holds no cluster';
  return { id: manifest.id, place, manifest, physical: manifest.physical, stores: whole };
}

/** Why a backup cannot be built on; undefined when it can. Pure. */
function whyUnfit(
  manifest: BackupManifest,
  { systemIdentifier, timeline }: Cluster,
  versionNum: number,
): string | undefined {
  const { physical, server } = manifest;
  if (physical === null) return `it is of kind ${manifest.kind}`;
  if (server.systemIdentifier !== systemIdentifier) return `it is of cluster ${server.systemIdentifier}`;
  const major = Math.floor(server.versionNum / 10_000);
  if (major !== Math.floor(versionNum / 10_000)) return `it is of PostgreSQL ${String(major)}`;
  if (physical.timeline !== timeline)
    return `it is of timeline ${String(physical.timeline)}, and the server is on ${String(timeline)}`;
  return undefined;
}

/** The stores that have every file in its size, and whose last verification did not fail. */
async function wholeCopies(copies: SurveyedBackup['copies'], signal: AbortSignal): Promise<Store[]> {
  const whole: Store[] = [];
  for (const { store, place, manifest, verified } of copies) {
    if (manifest === undefined || verified?.passed === false) continue;
    const sizes = new Map<string, number>();
    for await (const object of store.list(place, { signal })) sizes.set(object.key, object.sizeBytes);
    if (manifest.files.every((file) => sizes.get(`${place}${file.name}`) === file.sizeBytes))
      whole.push(store);
  }
  return whole;
}

/** What is wrong with the backups that one builds on; undefined when nothing is. */
async function brokenLink(
  backups: SurveyedBackup[],
  manifest: BackupManifest,
  signal: AbortSignal,
): Promise<string | undefined> {
  for (let id = manifest.physical?.parent ?? null; id !== null;) {
    const wanted = id;
    const link = backups.find((item) => item.manifest?.id === wanted);
    if (link?.manifest === undefined) return `${wanted}, which it builds on, is gone`;
    if ((await wholeCopies(link.copies, signal)).length === 0)
      return `no store has all files of ${wanted}, which it builds on`;
    id = link.manifest.physical?.parent ?? null;
  }
  return undefined;
}

/** The server removes summaries after wal_summary_keep_time; what it has must reach back to the start of the parent. */
async function refuseTooOld(context: BackupContext, { id, physical }: Parent): Promise<void> {
  const starts = await listSummaryStarts(context.db, physical.timeline);
  // A server that was just started has none yet, and pg_basebackup waits for them.
  if (starts.length === 0 || starts.some((lsn) => parseLsn(lsn) <= parseLsn(physical.startLsn))) return;
  throw tooOld(id, `the oldest one begins at ${starts[0] ?? ''}, and the backup at ${physical.startLsn}`);
}

/** The server's summaries of WAL do not reach back to the parent. */
export function tooOld(parent: string, detail: string | undefined): DbopsError {
  return new DbopsError('refused', `the server's WAL summaries do not reach back to backup ${parent}`, {
    detail,
    hint: 'Take a new base backup: "dbops backup create --kind base". wal_summary_keep_time says how long summaries are kept; it has to be longer than the time between a backup and the one that builds on it.',
  });
}
