import type { Settings } from '../../config/settings.ts';
import { humanBytes, humanCount, humanSeconds } from '../../output/human.ts';
import {
  archiveBacklog,
  archivingState,
  type ArchiveBacklogRow,
  type ArchivingRow,
} from '../../sql/health-archiving.ts';
import { ident, visible } from '../../sql/quote.ts';
import { allWell, skip, sqlCheck, type Check, type Look, type Observation } from '../check.ts';
import { isWalWanted, notWanted } from '../wal-wanted.ts';

const profiles = ['daily', 'weekly', 'monthly', 'deploy'] as const;
const isOff = 'archive_mode is off';
const notHere = 'a standby archives nothing while archive_mode is on; only with "always" does it';

export const archiving: Check[] = [
  sqlCheck<ArchivingRow>({
    id: 'archiving.failing',
    group: 'archiving',
    answers: 'whether the last attempt to archive WAL failed',
    why: 'WAL that cannot be archived stays in pg_wal until the disk is full, and what happens meanwhile cannot be restored.',
    advice:
      "The server's log has the reason: a store, the configuration or the spool that the server's user cannot reach.",
    source: 'CloudNativePG: the last failure is younger than the last success',
    profiles,
    question: archivingState,
    judge: ([row]) => judgeFailing(rowOf(row)),
  }),
  sqlCheck<ArchiveBacklogRow>({
    id: 'archiving.backlog',
    group: 'archiving',
    answers: 'how many files of WAL wait to be archived',
    why: 'An archive that is behind loses that much with the server; a command that hangs fails never, and is seen here alone.',
    advice: 'Look at what archive_command is doing now, and at the speed of the store.',
    thresholds: { unit: 'count', worse: 'above', warn: 16, crit: 64 },
    source: 'our own: 256 MB and 1 GB with segments of 16 MB',
    privilege: ['pg_monitor'],
    profiles,
    question: archiveBacklog,
    judge: ([row]) => judgeBacklog(rowOf(row)),
  }),
  sqlCheck<ArchivingRow>({
    id: 'archiving.configured',
    group: 'archiving',
    answers: 'whether WAL is archived where backups count on it',
    why: 'Without it a backup brings back its own moment and no later one; a base backup may not come up at all.',
    advice: '"dbops wal commands" prints the lines for postgresql.conf.',
    profiles,
    question: archivingState,
    judge: ([row], { settings }) => judgeConfigured(rowOf(row), settings),
  }),
];

function rowOf<Row>(row: Row | undefined): Row {
  if (row === undefined) throw new Error('the server answered with no row');
  return row;
}

function judgeFailing(row: ArchivingRow): Look {
  const { mode, isStandby, lastArchived, lastArchivedAt, lastFailed, lastFailedAt, failedCount } = row;
  if (mode === 'off') return skip(isOff);
  if (isStandby && mode !== 'always') return skip(notHere);
  const last =
    lastArchivedAt === null
      ? 'nothing was archived so far'
      : `${visible(lastArchived ?? '')} was archived at ${lastArchivedAt.toISOString()}`;
  if (lastFailedAt === null || (lastArchivedAt !== null && lastFailedAt <= lastArchivedAt))
    return allWell(last);
  return {
    observations: [
      {
        object: null,
        value: 1,
        severity: 'crit',
        message: `${visible(lastFailed ?? '')} could not be archived at ${lastFailedAt.toISOString()}, and nothing since`,
        detail: `${humanCount(failedCount)} failures; ${last}`,
      },
    ],
    summary: '',
  };
}

function judgeBacklog(row: ArchiveBacklogRow): Look {
  const { mode, isStandby, waiting, oldestSeconds, walSegmentBytes } = row;
  if (mode === 'off') return skip(isOff);
  if (isStandby && mode !== 'always') return skip(notHere);
  const message = `${humanCount(waiting)} files of WAL wait to be archived`;
  const detail =
    oldestSeconds === null
      ? undefined
      : `up to ${humanBytes(waiting * walSegmentBytes)}, the oldest for ${humanSeconds(Math.max(0, oldestSeconds))}`;
  return { observations: [{ object: null, value: waiting, message, detail }], summary: message };
}

function judgeConfigured(row: ArchivingRow, settings: Settings): Look {
  if (!isWalWanted(settings)) return skip(notWanted);
  const one = (observation: Omit<Observation, 'object' | 'value'>): Look => ({
    observations: [{ object: null, value: null, ...observation }],
    summary: '',
  });
  if (row.mode === 'off')
    return one({ severity: 'crit', message: 'archive_mode is off, though stores for WAL are configured' });
  if (row.command === null)
    return one({
      message: 'archive_command may not be read',
      advice: 'Give the role what it takes, as a superuser.',
      mend: `grant pg_read_all_settings to ${ident(row.role)};`,
    });
  const isSet = !['', '(disabled)'].includes(row.command) || (row.library ?? '') !== '';
  return isSet
    ? allWell(`archive_mode is ${row.mode}`)
    : one({
        severity: 'crit',
        message: 'archive_mode is on, and archive_command is empty: WAL is kept for ever',
      });
}
