import { DbopsError } from '../../../errors.ts';
import { humanBytes } from '../../../output/human.ts';
import { findBaseBackupProgress, getArchiver } from '../../../sql/physical.ts';
import type { BackupContext } from '../../context.ts';

const pollMs = 1000;
const reportMs = 10_000;
/** https://www.postgresql.org/docs/current/progress-reporting.html#BASEBACKUP-PROGRESS-REPORTING */
const archivingPhase = 'waiting for wal archiving to finish';

/** A base backup that is being watched. */
export interface Watch {
  /** Why it was stopped; undefined when it was not. */
  failure: () => DbopsError | undefined;
  /** The server's clock when all files were sent and it waited for its WAL; undefined where that was too short to be seen. */
  copiedAt: () => Date | undefined;
  end: () => Promise<void>;
}

/**
 * Says every ten seconds how far pg_basebackup is, and stops it when the server waits longer than the deadline for its
 * last WAL to be archived: PostgreSQL itself waits for ever.
 */
export function watchBaseBackup(context: BackupContext, applicationName: string, stop: () => void): Watch {
  const { db, log, settings } = context;
  let failure: DbopsError | undefined;
  let waitingSince: number | undefined;
  let copiedAt: Date | undefined;
  let reported = performance.now();
  let asking: Promise<void> | undefined;
  let answered = performance.now();
  const ask = async () => {
    const progress = await findBaseBackupProgress(db, applicationName);
    answered = performance.now();
    if (progress === undefined) return;
    const { phase, totalBytes, streamedBytes } = progress;
    const now = performance.now();
    waitingSince = phase === archivingPhase ? (waitingSince ?? now) : undefined;
    // The end of the backup is in the WAL by then.
    if (waitingSince !== undefined) copiedAt ??= progress.now;
    if (now - reported >= reportMs) {
      reported = now;
      const of = totalBytes === null ? '' : ` of ${humanBytes(totalBytes)}`;
      log.info(
        { event: 'backup_progress', phase, streamedBytes, totalBytes },
        `base backup: ${humanBytes(streamedBytes)}${of}, ${phase}`,
      );
    }
    if (waitingSince === undefined || now - waitingSince < settings.backup.archiveTimeoutMs) return;
    failure = await notArchived(context);
    stop();
  };
  const timer = setInterval(() => {
    // A session that is lost says nothing of pg_basebackup, which has its own, and waits for WAL unseen.
    if (performance.now() - answered >= settings.backup.archiveTimeoutMs && failure === undefined) {
      failure = notAnswered(context);
      stop();
      return;
    }
    asking ??= ask()
      .catch(() => undefined)
      .finally(() => (asking = undefined));
  }, pollMs);
  timer.unref();
  return {
    failure: () => failure,
    copiedAt: () => copiedAt,
    end: async () => {
      clearInterval(timer);
      // A question that nobody answers is not waited for.
      if (failure === undefined) await asking;
    },
  };
}

function notAnswered({ settings }: BackupContext): DbopsError {
  const seconds = Math.round(settings.backup.archiveTimeoutMs / 1000);
  return new DbopsError(
    'tool_failed',
    `the server did not say for ${String(seconds)} s how far the base backup is`,
    {
      hint: 'Was the session of dbops ended, or the network cut? See the log of the server, and run it again.',
    },
  );
}

async function notArchived(context: BackupContext): Promise<DbopsError> {
  const { lastArchived, lastFailed, lastFailedAt, lastArchivedAt } = await getArchiver(context.db);
  const fails = lastFailedAt !== null && (lastArchivedAt === null || lastFailedAt > lastArchivedAt);
  const what =
    fails && lastFailed !== null
      ? `archiving of ${lastFailed} fails`
      : `nothing was archived after ${lastArchived ?? 'the start of the server'}`;
  const seconds = Math.round(context.settings.backup.archiveTimeoutMs / 1000);
  return new DbopsError(
    'tool_failed',
    `the WAL of the backup was not archived within ${String(seconds)} s: ${what}`,
    {
      hint: 'Look into the log of the server for what archive_command says. "backup.archiveTimeout" is how long a base backup waits for it.',
    },
  );
}
