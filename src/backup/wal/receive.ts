import { mkdir, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DbopsError } from '../../errors.ts';
import { startChild } from '../../process/child.ts';
import type { WalContext } from './context.ts';
import { openTarget } from './push.ts';
import { pushFile } from './push-file.ts';
import { parseWalName } from './segment.ts';

export interface ReceivePlan {
  program: string;
  slot: string;
  /** Where pg_receivewal writes; a segment stays until it is durable in its stores. */
  folder: string;
  systemIdentifier: string;
}

/** The plan for one cluster; `program` is pg_receivewal. */
export function planReceive(
  spool: string,
  systemIdentifier: string,
  program: string,
  slot: string,
): ReceivePlan {
  return { program, slot, systemIdentifier, folder: join(spool, systemIdentifier, 'received') };
}

const lookEveryMs = 500;
const longestPauseMs = 10_000;

/**
 * Receives WAL as it is written and pushes each finished segment, until it is interrupted; resolves then, with how many.
 * pg_receivewal goes on by itself when the server was away. When a store is away segments are kept and tried again. The slot
 * makes the server keep what was not received: it must be dropped when nobody receives any more, or pg_wal fills up. Throws
 * tool_failed when pg_receivewal ends, and refused as a push does.
 */
export async function receiveWal(
  context: WalContext,
  plan: ReceivePlan,
  connection: Record<string, string>,
): Promise<number> {
  const { log, signal } = context;
  // Before anything is received: a cluster that nobody registered is not archived.
  await openTarget(context, plan.systemIdentifier);
  await mkdir(plan.folder, { recursive: true, mode: 0o700 });
  const arguments_ = ['--directory', plan.folder, '--slot', plan.slot, '--no-password'];
  const making = startChild(plan.program, [...arguments_, '--create-slot', '--if-not-exists'], {
    env: connection,
    signal,
  });
  making.process.stdout?.resume();
  await making.finished;
  log.info(
    { event: 'wal_receive_started', slot: plan.slot, folder: plan.folder },
    `receiving WAL through the slot "${plan.slot}": while nobody receives, the server keeps its WAL; drop the slot when it is not used any more`,
  );
  const child = startChild(plan.program, arguments_, { env: connection, signal });
  child.process.stdout?.resume();
  const ended = { failure: undefined as unknown };
  child.finished.catch((error: unknown) => (ended.failure = error));
  const kept = new Set<string>();
  let pushed = 0;
  let pauseMs = lookEveryMs;
  try {
    while (!signal.aborted && ended.failure === undefined) {
      try {
        pushed += await pushFinished(context, plan, kept);
        pauseMs = lookEveryMs;
      } catch (error) {
        if (signal.aborted) break;
        if (!(error instanceof DbopsError) || error.exitCode !== 7) throw error;
        pauseMs = Math.min(longestPauseMs, pauseMs * 2);
        log.warn({ event: 'wal_receive_waits' }, `received WAL is kept and pushed again: ${error.message}`);
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    child.stop();
    await child.finished.catch(() => undefined);
  }
  if (!signal.aborted) throw ended.failure;
  return pushed;
}

/**
 * Pushes what is finished. Histories stay, and so does the newest segment: pg_receivewal of PostgreSQL 14 finds in it where
 * to go on. `kept` are those that were pushed.
 */
async function pushFinished(context: WalContext, plan: ReceivePlan, kept: Set<string>): Promise<number> {
  const names = (await readdir(plan.folder)).filter((name) =>
    ['segment', 'history'].includes(parseWalName(name)?.kind ?? ''),
  );
  const rank = (name: string) => (name.endsWith('.history') ? 0 : 1);
  names.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  if (names.every((name) => kept.has(name))) return 0;
  const target = await openTarget(context, plan.systemIdentifier);
  let pushed = 0;
  for (const name of names) {
    const path = join(plan.folder, name);
    if (!kept.has(name) && (await pushFile(target, { name, path, isOfServer: false })).isNew) pushed += 1;
    kept.add(name);
    if (name !== names.at(-1) && !name.endsWith('.history')) await unlink(path);
  }
  return pushed;
}
