import { humanSeconds } from '../../output/human.ts';
import { visible } from '../../sql/quote.ts';
import { judgeAges } from '../backups/age.ts';
import { knownBackups, newestOf, type KnownBackup } from '../backups/known.ts';
import type { Check, CheckContext, Look, Observation } from '../check.ts';

const asks =
  'the ledger of backups in the state schema; where there is none yet, the manifests in the stores of backup.copies';
const daily = ['daily', 'weekly', 'monthly', 'deploy'] as const;
const weekly = ['weekly', 'monthly'] as const;

export const backups: Check[] = [
  {
    id: 'backups.age',
    group: 'backups',
    answers:
      'how old the newest backup is that brings back everything, and that of each kind in backup.retain',
    why: 'All that was written since is lost with the server, where WAL is not archived.',
    advice: 'Make one now, and look why the scheduled one did not.',
    thresholds: { unit: 'days', worse: 'above', warn: 1.25, crit: 2 },
    source:
      'our own: a daily backup that is six hours late, and one that was missed. A kind of which backup.retain keeps weeks or months is judged by those, unless a threshold is configured',
    profiles: daily,
    asks,
    look: (context) => withKnown(context, (known) => judgeAges(context, known)),
  },
  {
    id: 'backups.failed',
    group: 'backups',
    answers: 'whether the last attempt at a backup failed',
    why: 'The backups that are there grow older until the next attempt succeeds.',
    advice: 'Mend what it says, and make the backup again.',
    profiles: daily,
    asks,
    look: (context) => withKnown(context, judgeFailed),
  },
  {
    id: 'backups.verified',
    group: 'backups',
    answers: 'when a backup was last read back whole and found good',
    why: 'What nobody has read back may be damaged, and that shows on the day it is needed.',
    advice: 'Verify the newest one, and schedule it weekly.',
    thresholds: { unit: 'days', worse: 'above', warn: 8, crit: null },
    source: 'our own: weekly, and a day of grace',
    profiles: weekly,
    asks,
    look: (context) => withKnown(context, (known) => judgeVerified(context, known)),
  },
  {
    id: 'backups.drilled',
    group: 'backups',
    answers: 'when a backup was last restored as a drill, and whether that succeeded',
    why: 'Only a restore proves that a restore is possible, and how long it takes.',
    advice: 'Run a drill, and schedule it monthly.',
    thresholds: { unit: 'days', worse: 'above', warn: 35, crit: null },
    source: 'our own: monthly, and a few days of grace',
    profiles: daily,
    asks,
    look: (context) => withKnown(context, (known) => judgeDrilled(context, known)),
  },
];

/** Judges what is known of backups; without any there is nothing but their absence, which backups.age tells. */
async function withKnown(context: CheckContext, judge: (known: KnownBackup[]) => Look): Promise<Look> {
  const known = await knownBackups(context);
  return 'look' in known ? known.look : judge(known.backups);
}

function judgeFailed(known: KnownBackup[]): Look {
  const newest = new Map<string, KnownBackup>();
  for (const backup of known) {
    const before = newest.get(backup.of);
    if (before === undefined || backup.startedAt >= before.startedAt) newest.set(backup.of, backup);
  }
  const failed = [...newest.values()].filter((backup) => backup.hasFailed);
  return {
    observations: failed.map((backup) => ({
      object: backup.of,
      value: 1,
      severity: 'warn',
      message: `the last attempt, at ${backup.startedAt.toISOString()}, failed`,
      detail: visible(backup.message ?? 'no reason was recorded'),
      mend: `dbops backup create --kind ${backup.kind}`,
    })),
    summary: known.length === 0 ? 'no backup was attempted' : 'no last attempt failed',
  };
}

function judgeVerified({ now }: CheckContext, known: KnownBackup[]): Look {
  const whole = known.filter((backup) => backup.isWhole && !backup.hasFailed);
  const newest = whole.at(-1);
  const at = newestOf(whole.map((backup) => backup.verifiedAt));
  const mend = newest === undefined ? undefined : `dbops backup verify ${newest.id}`;
  if (at === null) return one(never(whole, 'no backup was ever read back', mend));
  const days = daysSince(now, at);
  return one({ object: null, value: days, message: `a backup was last read back ${ago(days)}`, mend });
}

function judgeDrilled({ now }: CheckContext, known: KnownBackup[]): Look {
  const whole = known.filter((backup) => backup.isWhole && !backup.hasFailed);
  const at = newestOf(whole.map((backup) => backup.drilledAt));
  const mend = 'dbops backup drill';
  if (at === null) return one(never(whole, 'no backup was ever restored as a drill', mend));
  const days = daysSince(now, at);
  const last = whole.find((backup) => backup.drilledAt?.getTime() === at.getTime());
  const message = `a backup was last restored as a drill ${ago(days)}`;
  if (last?.drillPassed === true) return one({ object: null, value: days, message, mend });
  return one({
    object: null,
    value: days,
    severity: 'crit',
    message: `${message}, and that failed`,
    advice: 'Its report says what was missing: dbops backup show.',
    mend: `dbops backup show ${last?.id ?? ''}`,
  });
}

/** Where there is no backup at all its absence is told once, by the age. */
function never(whole: KnownBackup[], message: string, mend: string | undefined): Observation {
  return whole.length === 0
    ? { object: null, value: null, severity: 'ok', message: 'there is no backup yet' }
    : { object: null, value: null, severity: 'warn', message, mend };
}

function one(observation: Observation): Look {
  return { observations: [observation], summary: observation.message };
}

function daysSince(now: Date, at: Date): number {
  return Math.max(0, (now.getTime() - at.getTime()) / 86_400_000);
}

function ago(days: number): string {
  return `${humanSeconds(days * 86_400)} ago`;
}
