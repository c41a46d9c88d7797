import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { DbopsError } from '../../errors.ts';
import type { Copies } from '../../storage/copies.ts';
import { findCluster } from './cluster.ts';
import type { WalContext } from './context.ts';
import { findDataDirectory, findWriter, isThere, type DataDirectory } from './data-directory.ts';
import { HistoryCheck } from './history-check.ts';
import { pushFile, type FileToPush, type PushedFile, type PushTarget } from './push-file.ts';
import { removeFetched } from './prefetch.ts';
import { parseWalName } from './segment.ts';
import { Marks, spoolFolder } from './spool.ts';

export interface PushReport {
  asked: PushedFile;
  /** Further files that were ready and are durable now. */
  ahead: number;
}

/** After so long no further file is begun: the archiver waits for the answer about the one that it asked for. */
const aheadMs = 30_000;

/**
 * Pushes the file that archive_command names, and further ones that are ready.
 *
 * The contract with PostgreSQL: it resolves only when the file that was asked for is durable in as many stores as
 * `wal.required`, and throws otherwise; what becomes of the further files changes nothing in that. The same name with the
 * same content again resolves. Another content under that name, a file of another cluster, one of a timeline that the
 * archive knows otherwise, and a cluster that is not registered in the store are refused. Nothing in a store is ever
 * replaced. The exit code is 0 or 1: the archiver retries after 1, and would end itself above 125.
 */
export async function pushWal(context: WalContext, cwd: string, file: string): Promise<PushReport> {
  const path = resolve(cwd, file);
  const name = basename(path);
  if (parseWalName(name) === undefined) {
    throw new DbopsError('usage', `${name} is not the name of a file that PostgreSQL archives`, {
      hint: 'archive_command gives the path as %p: "dbops wal commands" prints the whole line.',
    });
  }
  const data = await findDataDirectory(cwd, file);
  const status = join(dirname(path), 'archive_status');
  await refuseUnfinished(status, name);
  const target = await openTarget(context, data.systemIdentifier);
  // A server that archives has recovered, most often: nothing of what was fetched ahead will be asked for.
  if (!(await isRecovering(data))) await removeFetched(context.settings.spool, data).catch(() => undefined);
  const histories = new HistoryCheck(target, dirname(path));
  const isOfServer = await timeTeller(data);
  const push = async (item: Omit<FileToPush, 'isOfServer'>) => {
    await histories.check(item.name);
    return await pushFile(target, { ...item, isOfServer: await isOfServer(item.path) });
  };
  const asked = push({ name, path });
  // A failure is thrown below; until then nothing else may be told of it.
  asked.catch(() => undefined);
  const marks = new Marks(spoolFolder(context.settings.spool, data, 'pushed'));
  const ahead = await pushAhead(context, { asked, name, status, marks, push });
  return { asked: await asked, ahead };
}

/**
 * Tells whether the time of a file is that at which PostgreSQL closed it: it lies in the pg_wal of a server that runs, has
 * not replayed it from elsewhere, and wrote it since it started. A copy of a data directory, or of its pg_wal, has the
 * times of the copying, and a recovery would take those for a proof that nothing was committed until then.
 */
async function timeTeller(data: DataDirectory): Promise<(path: string) => Promise<boolean>> {
  const writer = (await isRecovering(data)) ? undefined : await findWriter(data);
  if (writer === undefined) return () => Promise.resolve(false);
  const folder = await realpath(join(data.path, 'pg_wal')).catch(() => undefined);
  return async (path) => {
    const place = await realpath(dirname(path)).catch(() => undefined);
    const info = await lstat(path).catch(() => undefined);
    return place === folder && info?.isFile() === true && info.mtimeMs >= writer.sinceMs;
  };
}

async function isRecovering(data: DataDirectory): Promise<boolean> {
  const signals = ['standby.signal', 'recovery.signal'].map((file) => isThere(join(data.path, file)));
  return (await Promise.all(signals)).includes(true);
}

/** A segment that the server still writes to would be stored half. Files that lie elsewhere are somebody's own affair. */
async function refuseUnfinished(status: string, name: string): Promise<void> {
  if (!(await isThere(status))) return;
  for (const state of ['ready', 'done']) if (await isThere(join(status, `${name}.${state}`))) return;
  throw new DbopsError('refused', `${name} is not ready to be archived`, {
    detail: `there is neither ${name}.ready nor ${name}.done in ${status}`,
    hint: 'PostgreSQL calls archive_command itself, for files that it has finished.',
  });
}

/** The stores that know this cluster. Throws refused when they are too few. */
export async function openTarget(context: WalContext, systemIdentifier: string): Promise<PushTarget> {
  const { settings, log, signal } = context;
  if (settings.copies.length === 0) {
    throw new DbopsError('store_unknown', 'there is no store for WAL', {
      hint: 'Name one under "stores:" in the configuration, with its url (file:///path or s3://bucket/prefix).',
    });
  }
  const copies: Copies = {
    stores: [],
    required: settings.required,
    onLost: (store, error) =>
      log.warn(
        { event: 'wal_copy_failed', store: store.name },
        `no copy of WAL in store "${store.name}": ${error.message}`,
      ),
  };
  const unknown: string[] = [];
  const failures: DbopsError[] = [];
  await Promise.all(
    settings.copies.map(async (name) => {
      try {
        const store = await context.openStore(name);
        if ((await findCluster(store, systemIdentifier, signal)) === undefined) unknown.push(name);
        else copies.stores.push(store);
      } catch (error) {
        if (!(error instanceof DbopsError) || error.exitCode !== 7) throw error;
        failures.push(error);
        log.warn(
          { event: 'wal_copy_failed', store: name },
          `no copy of WAL in store "${name}": ${error.message}`,
        );
      }
    }),
  );
  for (const name of unknown) {
    log.warn(
      { event: 'wal_not_registered', store: name, cluster: systemIdentifier },
      `the cluster ${systemIdentifier} is not registered in store "${name}"`,
    );
  }
  if (copies.stores.length >= settings.required) return { ...targetOf(context, systemIdentifier), copies };
  if (unknown.length === 0 && failures[0] !== undefined) throw failures[0];
  throw notRegistered(systemIdentifier, unknown);
}

function targetOf({ settings, signal, host, version }: WalContext, systemIdentifier: string) {
  const { compressionLevel, jobs } = settings;
  return { systemIdentifier, compressionLevel, jobs, host, version, signal };
}

/** The error of a cluster that a store does not know. */
export function notRegistered(systemIdentifier: string, stores: string[]): DbopsError {
  const names = stores.map((name) => `"${name}"`).join(', ');
  return new DbopsError('refused', `the cluster ${systemIdentifier} is not registered in store ${names}`, {
    hint: 'If this is a copy or a test server with the configuration of another one, set archive_mode = off here. If its WAL belongs there, run "dbops wal commands" on this host once. Is the disk of the store mounted?',
  });
}

interface AheadWork {
  asked: Promise<PushedFile>;
  name: string;
  status: string;
  marks: Marks;
  push: (file: Omit<FileToPush, 'isOfServer'>) => Promise<PushedFile>;
}

/** Pushes what else is ready, as long as the one that was asked for does not fail. Returns how many. Never throws. */
async function pushAhead(context: WalContext, work: AheadWork): Promise<number> {
  const { settings, log, signal } = context;
  const until = Date.now() + aheadMs;
  const state = { done: 0, isOver: settings.ahead === 0 };
  if (state.isOver) return 0;
  work.asked.catch(() => (state.isOver = true));
  try {
    await work.marks.prepare();
    const queue = (await listReady(work)).slice(0, settings.ahead).values();
    const worker = async () => {
      for (const file of queue) {
        if (state.isOver || signal.aborted || Date.now() > until) return;
        await work.push(file);
        // Another call may have pushed it meanwhile, and PostgreSQL may have taken note.
        if (await isThere(join(work.status, `${file.name}.ready`))) await work.marks.leave(file.name);
        state.done += 1;
      }
    };
    // The one that was asked for takes the place of a worker until it is done.
    const workers = [work.asked.then(worker), ...Array.from({ length: settings.jobs - 1 }, worker)];
    const results = await Promise.allSettled(
      workers.map((item) =>
        item.catch((error: unknown) => ((state.isOver = true), Promise.reject(error as Error))),
      ),
    );
    const failure = results.slice(1).find((item) => item.status === 'rejected') ?? results[0];
    if (failure?.status === 'rejected') throw failure.reason;
  } catch (error) {
    const isAsked = await work.asked.then(
      () => false,
      (reason: unknown) => reason === error,
    );
    if (!isAsked) {
      const message = error instanceof Error ? error.message : String(error);
      log.warn({ event: 'wal_ahead_stopped' }, `no further WAL was pushed ahead: ${message}`);
    }
  }
  return state.done;
}

/** What is ready and was not pushed yet: histories first, as the server itself does, then by name. */
async function listReady({
  name: asked,
  status,
  marks,
}: AheadWork): Promise<Omit<FileToPush, 'isOfServer'>[]> {
  const names = (await readdir(status).catch(() => [])).flatMap((file) =>
    file.endsWith('.ready') ? [file.slice(0, -'.ready'.length)] : [],
  );
  const ready = new Set(names.filter((name) => parseWalName(name) !== undefined));
  const folder = dirname(status);
  const marked = await marks.sweep(async (name) =>
    ready.has(name) ? (await stat(join(folder, name)).catch(() => undefined))?.mtime : undefined,
  );
  const rank = (name: string) => (name.endsWith('.history') ? 0 : 1);
  return [...ready]
    .filter((name) => name !== asked && !marked.has(name))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
    .map((name) => ({ name, path: join(folder, name) }));
}
