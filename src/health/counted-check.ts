import type { CheckContext, Look, OtherCheck } from './check.ts';
import { counterSample, countedWindow, type CountedWindow, type Counters } from './counters.ts';

/** What a check of counters says besides how it is judged. */
type About = Omit<OtherCheck, 'asks' | 'look' | 'isCounted'>;

/**
 * A check of what the server counts: judged by what was counted since the sample of about a day ago, and where there is none
 * since the last reset, which its findings say.
 */
export function countedCheck<Row>(
  about: About,
  { asks, read }: { asks: string; read: (context: CheckContext) => Promise<Counters<Row>> },
  judge: (window: CountedWindow<Row>, now: Date) => Look,
): OtherCheck {
  return {
    ...about,
    isCounted: true,
    asks: `${asks}\n-- and the same as "dbops capacity record" kept it about a day ago`,
    look: async (context) => {
      const window = countedWindow(await read(context), await counterSample(context));
      const look = judge(window, context.now);
      const observations = look.observations.map((observation) => ({
        ...observation,
        detail:
          [observation.detail, window.whole].filter((part) => part !== undefined).join('; ') || undefined,
      }));
      return { ...look, observations, countedSince: window.since };
    },
  };
}

/** "since 2026-11-21T03:00Z". Pure. */
export function sinceWords({ since }: { since: Date }): string {
  return `since ${since.toISOString().slice(0, 16)}Z`;
}

/**
 * Less than a day is not stretched to one: an hour with a deadlock is no day with 24. What was counted since the sample of
 * last night is that of a day, although the day is some hours longer. Pure.
 */
export function perDay(count: number, { since }: { since: Date }, now: Date): number {
  const days = (now.getTime() - since.getTime()) / 86_400_000;
  return days < 1.5 ? count : count / days;
}
