import { setTimeout as sleep } from 'node:timers/promises';
import { interrupted } from '../errors.ts';
import { errorName, isFull, statusOf, type RawError } from './s3-errors.ts';

export interface RetryOptions {
  attempts: number;
  delayMs: number;
  signal: AbortSignal | undefined;
}

const longestDelayMs = 10_000;

/**
 * Runs a request again while the store is busy or its connection breaks: with the defaults 6 attempts within about 8
 * seconds, and 25 where the store asks for patience. A store that was silent for the whole idle timeout is not asked
 * again, and neither is one that refuses. `run` is told the number of the attempt, from 1.
 */
export async function withRetries<Result>(
  { attempts, delayMs, signal }: RetryOptions,
  run: (attempt: number) => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    if (signal?.aborted === true) throw interrupted(signal);
    try {
      return await run(attempt);
    } catch (error) {
      if (isAborted(signal)) throw interrupted(signal);
      const raw = error as RawError;
      if (attempt >= attempts || !isTransient(raw)) throw error;
      const base = delayMs * 2 ** (attempt - 1) * (isThrottling(raw) ? 4 : 1);
      // Jitter: several parts that were refused together must not come back together.
      const pauseMs = Math.min(longestDelayMs, base) * (0.5 + Math.random() / 2);
      await sleep(
        Math.max(pauseMs, retryAfterMs(raw)),
        undefined,
        signal === undefined ? {} : { signal },
      ).catch(() => undefined);
    }
  }
}

function isAborted(signal: AbortSignal | undefined): signal is AbortSignal {
  return signal?.aborted === true;
}

const brokenConnections = ['ECONNRESET', 'EPIPE', 'ECONNREFUSED', 'EAI_AGAIN', 'ENETUNREACH', 'EHOSTUNREACH'];
const busyNames = [
  'SlowDown',
  'InternalError',
  'ServiceUnavailable',
  'RequestTimeout',
  'OperationAborted',
  'ConditionalRequestConflict',
  'RequestTimeTooSkewed',
];

/** Whether another attempt may succeed. Pure. */
export function isTransient(error: RawError): boolean {
  const name = errorName(error);
  const status = statusOf(error);
  if (name === 'TimeoutError') return false;
  // 501: it does not know the request.
  if (status === 501 || isFull(error)) return false;
  if (busyNames.includes(name) || brokenConnections.includes(name)) return true;
  if (isThrottling(error) || (status !== undefined && status >= 500)) return true;
  return /socket hang up|aborted|premature close/i.test(error.message ?? '') && status === undefined;
}

function isThrottling(error: RawError): boolean {
  return (
    /SlowDown|Throttl|TooManyRequests|RequestLimitExceeded/.test(errorName(error)) || statusOf(error) === 429
  );
}

/** What the store asks for in seconds, within reason. */
function retryAfterMs(error: RawError): number {
  const seconds = Number(error.$response?.headers?.['retry-after']);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, longestDelayMs) : 0;
}
