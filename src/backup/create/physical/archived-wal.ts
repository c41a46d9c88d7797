import { setTimeout as sleep } from 'node:timers/promises';
import { DbopsError, interrupted } from '../../../errors.ts';
import { getArchiver, type ClusterFacts } from '../../../sql/physical.ts';
import type { Store } from '../../../storage/store.ts';
import type { BackupContext } from '../../context.ts';
import { walKey } from '../../wal/place.ts';
import { parseWalName, segmentName } from '../../wal/segment.ts';

/** Where the WAL that a base backup needs will be. */
export interface WalChoice {
  method: 'archive' | 'included';
  /** Why it has to be included, for people: "since ...". */
  why: string;
}

const pollMs = 1000;
const reportMs = 10_000;
/** Several segments are pushed at once, and a later one may be first. */
const overtakenMs = 60_000;

/**
 * Leaves the WAL out where the archive works, and that is seen: what the server archived last, and has not failed to since,
 * lies in the stores. Everything else takes it along. On a standby, too: its backup ends in a segment that only the primary
 * can close.
 */
export async function chooseWal(
  context: BackupContext,
  facts: ClusterFacts,
  systemIdentifier: string,
): Promise<WalChoice> {
  const included = (why: string): WalChoice => ({ method: 'included', why });
  const { db, settings } = context;
  if (db.server.isStandby) return included('this server is a standby');
  if (facts.archiveMode === 'off') return included('archive_mode is off');
  if (settings.wal.copies.length === 0) return included('no store is named under "wal"');
  const { lastArchived, lastArchivedAt, lastFailed, lastFailedAt } = await getArchiver(db);
  if (lastArchived === null || lastArchivedAt === null) return included('no WAL was archived yet');
  if (lastFailedAt !== null && lastFailedAt > lastArchivedAt)
    return included(`archiving fails, last for ${lastFailed ?? 'a segment'}`);
  if (parseWalName(lastArchived) === undefined) return included(`what was archived last is ${lastArchived}`);
  const stores = await Promise.all(settings.wal.copies.map(context.openStore));
  const looks = await Promise.all(
    stores.map((store) => look(store, systemIdentifier, [lastArchived], context.signal)),
  );
  if (looks.filter(isWhole).length >= settings.wal.required) return { method: 'archive', why: '' };
  const without = stores
    .filter((store) => !looks.some((item) => item.store === store && isWhole(item)))
    .map((store) => `"${store.name}"`);
  return included(`${lastArchived}, which was archived last, is not in ${without.join(', ')}`);
}

/** The segments between two positions, both ends among them. Pure. */
export function segmentsBetween(
  timeline: number,
  startLsn: bigint,
  stopLsn: bigint,
  segmentBytes: number,
): string[] {
  const size = BigInt(segmentBytes);
  const names: string[] = [];
  for (let number = startLsn / size; number <= (stopLsn - 1n) / size; number += 1n)
    names.push(segmentName(timeline, number, segmentBytes));
  return names;
}

/**
 * Waits until every segment is in as many stores as are required. Throws tool_failed naming the first segment that is
 * missing when the deadline has passed, and sooner when a later one has been there for a while: no other is asked for again.
 */
export async function waitForSegments(
  context: BackupContext,
  systemIdentifier: string,
  names: string[],
): Promise<void> {
  const { settings, log, signal } = context;
  const stores = await Promise.all(settings.wal.copies.map(context.openStore));
  const deadline = performance.now() + settings.backup.archiveTimeoutMs;
  let reported = performance.now();
  let holeSince: number | undefined;
  for (;;) {
    const looks = await Promise.all(stores.map((store) => look(store, systemIdentifier, names, signal)));
    if (looks.filter(isWhole).length >= settings.wal.required) return;
    const late = performance.now() >= deadline;
    // A store may be behind; a hole that every store has will not be filled.
    holeSince = looks.every((item) => item.isHole) ? (holeSince ?? performance.now()) : undefined;
    const isHole = holeSince !== undefined && performance.now() - holeSince >= overtakenMs;
    if (late || isHole) throw missingSegment(looks, names);
    if (performance.now() - reported >= reportMs) {
      reported = performance.now();
      const { missing } = looks.find((item) => item.missing !== undefined) ?? {};
      log.info(
        { event: 'backup_waits_for_wal', segment: missing },
        `waiting for ${missing ?? 'a store'} in the archive of WAL`,
      );
    }
    await sleep(pollMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) throw interrupted(signal);
  }
}

interface Look {
  store: Store;
  /** The first that is not there. */
  missing: string | undefined;
  /** Whether a later one is. */
  isHole: boolean;
  problem: DbopsError | undefined;
}

async function look(
  store: Store,
  systemIdentifier: string,
  names: string[],
  signal: AbortSignal,
): Promise<Look> {
  const there = new Set<string>();
  try {
    const folders = names.map((name) => folderOf(walKey(systemIdentifier, name)));
    for (const folder of new Set(folders)) {
      for await (const object of store.list(folder, { signal })) there.add(object.key);
    }
  } catch (error) {
    if (!(error instanceof DbopsError) || signal.aborted) throw error;
    return { store, missing: undefined, isHole: false, problem: error };
  }
  const isThere = (name: string) => there.has(walKey(systemIdentifier, name));
  const at = names.findIndex((name) => !isThere(name));
  if (at === -1) return { store, missing: undefined, isHole: false, problem: undefined };
  return { store, missing: names[at], isHole: names.slice(at + 1).some(isThere), problem: undefined };
}

function isWhole(look: Look): boolean {
  return look.missing === undefined && look.problem === undefined;
}

function folderOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/') + 1);
}

function missingSegment(looks: Look[], names: string[]): DbopsError {
  const lines = looks.flatMap(({ store, missing, problem }) => {
    const { name } = store;
    if (problem !== undefined) return [`store "${name}": ${problem.message}`];
    return missing === undefined ? [] : [`store "${name}" has no ${missing}`];
  });
  const missing = looks.find((item) => item.missing !== undefined)?.missing;
  const what =
    missing === undefined
      ? `the WAL from ${names[0] ?? ''} to ${names.at(-1) ?? ''} cannot be looked for in enough stores`
      : `${missing} is not in the archive of WAL, and the backup is of no use without it`;
  return new DbopsError('tool_failed', what, {
    detail: lines.join('\n'),
    hint: 'See "dbops wal status", and pg_stat_archiver and the log of the server. Where archiving is known to be broken, turn it off or repair it first: the next backup then takes its WAL along.',
  });
}
