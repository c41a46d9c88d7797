import { setInterval } from 'node:timers';

const defaultEveryMs = 10_000;

/**
 * Tells of something long every ten seconds until end(), which waits for the last time. What fails is passed over: how far
 * it is matters less than that it goes on.
 */
export function repeat(tell: () => Promise<void>, everyMs = defaultEveryMs): { end: () => Promise<void> } {
  let telling: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    telling = telling.then(tell).catch(() => undefined);
  }, everyMs);
  timer.unref();
  return {
    end: async () => {
      clearInterval(timer);
      await telling;
    },
  };
}
