import type { RowsLimits } from '../config/rows.ts';
import { humanBytes, humanSeconds } from '../output/human.ts';
import { pause } from '../plan/apply.ts';
import type { WaiterRow } from '../sql/locks.ts';
import { visible } from '../sql/quote.ts';
import { getPressure, getTimeUntil, type PressureRow } from '../sql/rows-pressure.ts';
import type { RowsContext } from './context.ts';

/** How often standbys, slots and the archive are looked at, in milliseconds. */
const sampleEveryMs = 1000;
const pauseStepMs = 2000;
/** After so many batches that nobody waited for, the pauses begin short again. */
const calmBatches = 20;

/** Why a run ends before its work does. */
export class StopReason {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** What is too far behind, in words; undefined when nothing is. Pure. */
export function tooFarBehind(
  row: PressureRow,
  limits: Pick<RowsLimits, 'replicaLagMs' | 'slotBacklogBytes' | 'archiveBacklogBytes'>,
): string | undefined {
  if (row.replicaLagSeconds !== null && row.replicaLagSeconds * 1000 > limits.replicaLagMs) {
    return (
      `standby ${visible(row.replica ?? '')} is ${humanSeconds(row.replicaLagSeconds)} behind, ` +
      `and the limit is ${humanSeconds(limits.replicaLagMs / 1000)} (--max-replica-lag)`
    );
  }
  if (row.slotBacklogBytes !== null && row.slotBacklogBytes > limits.slotBacklogBytes) {
    return (
      `${visible(row.slot ?? '')} holds back ${humanBytes(row.slotBacklogBytes)} of WAL, ` +
      `and the limit is ${humanBytes(limits.slotBacklogBytes)} (--max-slot-backlog)`
    );
  }
  if (row.archiveBacklogBytes !== null && row.archiveBacklogBytes > limits.archiveBacklogBytes) {
    return (
      `${humanBytes(row.archiveBacklogBytes)} of WAL wait for the archive, ` +
      `and the limit is ${humanBytes(limits.archiveBacklogBytes)} (--max-archive-backlog)`
    );
  }
  return undefined;
}

/** When a command ends, and why, however many jobs it has. */
export interface RunEnd {
  /** Of performance.now(). */
  atMs: number;
  reason: string;
}

/**
 * When a job has to end, counted from now: to be asked once for each job of a command before the first begins, since what
 * they wait for must not move it. Undefined: it may run to its end.
 */
export async function findRunEnd(
  context: Pick<RowsContext, 'db' | 'now'>,
  limits: Pick<RowsLimits, 'maxTimeMs' | 'until'>,
  timezone: string,
): Promise<RunEnd | undefined> {
  const { maxTimeMs, until } = limits;
  const ends: RunEnd[] = [];
  if (maxTimeMs !== undefined) {
    ends.push({
      atMs: performance.now() + maxTimeMs,
      reason: `its time of ${humanSeconds(maxTimeMs / 1000)} is over (--max-time)`,
    });
  }
  if (until !== undefined) {
    const leftMs = await getTimeUntil(context.db, context.now, until, timezone);
    ends.push({ atMs: performance.now() + leftMs, reason: `it is ${until} (--until)` });
  }
  return ends.sort((a, b) => a.atMs - b.atMs)[0];
}

/** Whether there is an end, and it has come. */
export function isOver(end: RunEnd | undefined): end is RunEnd {
  return end !== undefined && performance.now() >= end.atMs;
}

/** Watches over one run: its time, who waits for it, and what falls behind because of it. */
export class Watch {
  readonly #context: RowsContext;
  readonly #limits: RowsLimits;
  readonly #end: RunEnd | undefined;
  #sampledAt = Number.NEGATIVE_INFINITY;
  #waitedFor = 0;
  #calm = 0;
  #pausedForWaitersMs = 0;
  #isHiddenTold = false;

  constructor(context: RowsContext, limits: RowsLimits, end: RunEnd | undefined) {
    this.#context = context;
    this.#limits = limits;
    this.#end = end;
  }

  /** Before each batch: returns why the run must end, after waiting for what may get better. */
  async check(): Promise<StopReason | undefined> {
    const over = this.#timeIsOver();
    if (over !== undefined) return over;
    if (performance.now() - this.#sampledAt < sampleEveryMs) return undefined;
    let reason = await this.#sample();
    if (reason === undefined) return undefined;
    const began = performance.now();
    this.#tell(reason);
    while (reason !== undefined) {
      const leftMs = this.#limits.pauseMs - (performance.now() - began);
      if (leftMs <= 0) return new StopReason(reason);
      await this.rest(Math.min(pauseStepMs, leftMs));
      const ended = this.#timeIsOver();
      if (ended !== undefined) return ended;
      reason = await this.#sample();
    }
    this.#context.log.info({ event: 'rows_resumed' }, 'going on');
    return undefined;
  }

  /** After each batch, with who waited for it. */
  async afterBatch(waiters: WaiterRow[]): Promise<StopReason | undefined> {
    const [first] = waiters;
    if (first === undefined) {
      this.#waitedFor = 0;
      this.#calm += 1;
      if (this.#calm >= calmBatches) this.#pausedForWaitersMs = 0;
      return undefined;
    }
    this.#calm = 0;
    this.#waitedFor += 1;
    if (this.#waitedFor < this.#limits.waiters) return undefined;
    const reason =
      `others waited for ${String(this.#waitedFor)} batches in a row (--max-waiters), such as pid ${String(first.pid)} ` +
      `(user ${visible(first.user)}): ${visible(first.query.replaceAll(/\s+/g, ' '))}`;
    if (this.#pausedForWaitersMs >= this.#limits.pauseMs) return new StopReason(reason);
    this.#tell(reason);
    this.#waitedFor = 0;
    const ms = Math.min(Math.max(this.#pausedForWaitersMs, 1000), this.#limits.pauseMs);
    this.#pausedForWaitersMs += ms;
    await this.rest(ms);
    return undefined;
  }

  #timeIsOver(): StopReason | undefined {
    return isOver(this.#end) ? new StopReason(this.#end.reason) : undefined;
  }

  /** Sleeps, but not past the end of the run. */
  async rest(milliseconds: number): Promise<void> {
    const leftMs = this.#end === undefined ? milliseconds : this.#end.atMs - performance.now();
    await pause(Math.max(Math.min(milliseconds, leftMs), 0), this.#context.signal);
  }

  async #sample(): Promise<string | undefined> {
    const row = await getPressure(this.#context.db);
    this.#sampledAt = performance.now();
    if (row.hiddenReplicas > 0 && !this.#isHiddenTold) {
      this.#isHiddenTold = true;
      this.#context.log.warn(
        { event: 'rows_replicas_hidden', replicas: row.hiddenReplicas },
        `how far ${String(row.hiddenReplicas)} standbys are behind is not shown to role "${this.#context.db.server.user}": GRANT pg_monitor TO it`,
      );
    }
    return tooFarBehind(row, this.#limits);
  }

  #tell(reason: string): void {
    this.#context.log.warn(
      { event: 'rows_paused', reason },
      `pausing for at most ${humanSeconds(this.#limits.pauseMs / 1000)}: ${reason}`,
    );
  }
}
