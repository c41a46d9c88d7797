import type { BackupKind, RetainRules } from '../../config/backup.ts';
import { matches } from '../../config/pattern.ts';
import type { Settings } from '../../config/settings.ts';
import { humanSeconds } from '../../output/human.ts';
import type { CheckContext, Look, Observation } from '../check.ts';
import type { KnownBackup } from './known.ts';

/** How often a kind is made, as far as its rules tell, and how old the newest of it may be: one may be missed by a little. */
interface Cadence {
  words: string;
  allowedDays: number;
}

const cadences = [
  ['hourly', 3 / 24],
  ['daily', 2],
  ['weekly', 8],
  ['monthly', 33],
  ['yearly', 370],
] as const;

/** The finest period of which something is kept. Undefined: "last" and "within" say nothing of how often. */
function cadenceOf(rules: RetainRules | undefined): Cadence | undefined {
  const found = cadences.find(([words]) => rules?.[words] !== undefined);
  return found === undefined ? undefined : { words: found[0], allowedDays: found[1] };
}

const wholeKinds: readonly BackupKind[] = ['logical', 'base', 'incremental', 'snapshot', 'pgbackrest'];

/** The age of the newest backup that brings back everything, and of the newest of each kind that is made regularly. */
export function judgeAges(
  { settings, now }: Pick<CheckContext, 'settings' | 'now'>,
  known: KnownBackup[],
): Look {
  const good = known.filter((backup) => !backup.hasFailed);
  const whole = good.filter((backup) => backup.isWhole);
  const newest = newestOf(whole);
  const { retain } = settings.backup;
  if (newest === undefined) return { observations: [absent(settings)], summary: 'there is no backup' };
  const finest = wholeKinds
    .map((kind) => cadenceOf(retain[kind]))
    .filter((cadence) => cadence !== undefined)
    .sort((a, b) => a.allowedDays - b.allowedDays)[0];
  const written = settings.health.thresholds['backups.age'];
  const isOwn = written?.warn !== undefined || written?.crit !== undefined;
  const days = daysOf(newest, now);
  const message = `the newest backup is ${humanSeconds(days * 86_400)} old: ${newest.of}`;
  const overall: Observation = {
    object: null,
    value: days,
    message,
    detail: finest === undefined || isOwn ? undefined : `backup.retain keeps ${finest.words} ones`,
    severity: finest === undefined || isOwn ? undefined : days > finest.allowedDays ? 'crit' : 'ok',
    mend: `dbops backup create --kind ${newest.kind}`,
  };
  const kinds = (Object.keys(retain) as BackupKind[]).flatMap((kind) => ageOfKind(settings, kind, good, now));
  return { observations: [overall, ...kinds], summary: message };
}

/** Nothing is said of a kind that no rule says to be made regularly. */
function ageOfKind(settings: Settings, kind: BackupKind, good: KnownBackup[], now: Date): Observation[] {
  const cadence = cadenceOf(settings.backup.retain[kind]);
  if (cadence === undefined) return [];
  // A base backup is as good as an incremental one.
  const own = good.filter(
    (backup) => backup.kind === kind || (kind === 'incremental' && backup.kind === 'base'),
  );
  const newest = newestOf(own);
  const mend = `dbops backup create --kind ${kind}`;
  const detail = `backup.retain keeps ${cadence.words} ones`;
  if (newest === undefined)
    return [
      { object: kind, value: null, severity: 'warn', message: `there is no ${kind} backup`, detail, mend },
    ];
  const objects = settings.health.thresholds['backups.age']?.objects ?? {};
  const isOwn = Object.keys(objects).some((pattern) => matches(pattern, kind));
  const days = daysOf(newest, now);
  return [
    {
      object: kind,
      value: days,
      severity: isOwn ? undefined : days > cadence.allowedDays ? 'warn' : 'ok',
      message: `the newest ${kind} backup is ${humanSeconds(days * 86_400)} old`,
      detail,
      mend,
    },
  ];
}

/** Whoever configures backups wants some; of others it is not known who makes theirs. */
function absent({ files }: Settings): Observation {
  const isWanted = files.some((file) => file.settings.backup !== undefined);
  return isWanted
    ? {
        object: null,
        value: null,
        severity: 'crit',
        message: 'there is no backup that brings back everything',
        mend: 'dbops backup create --kind logical',
      }
    : {
        object: null,
        value: null,
        message: 'dbops knows of no backup, and "backup:" is not configured: who makes them, it cannot tell',
        advice:
          'Configure "backup:", or leave the group out with "health.skip: [backups]" where another tool makes them.',
      };
}

function newestOf(backups: KnownBackup[]): KnownBackup | undefined {
  return backups.reduce<KnownBackup | undefined>(
    (newest, backup) => (newest === undefined || backup.moment > newest.moment ? backup : newest),
    undefined,
  );
}

function daysOf(backup: KnownBackup, now: Date): number {
  return Math.max(0, (now.getTime() - backup.moment.getTime()) / 86_400_000);
}
