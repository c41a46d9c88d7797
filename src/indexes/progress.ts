import { humanBytes, humanSeconds } from '../output/human.ts';
import { repeat } from '../output/repeat.ts';
import type { JobContext } from '../partition/context.ts';
import type { Db } from '../pg/connection.ts';
import { findBuildProgress, type BuildProgressRow } from '../sql/index-tables.ts';
import { visible } from '../sql/quote.ts';

/**
 * Logs every ten seconds how far the index is that this session builds, and whom it waits for, in a session that is opened
 * when it is first needed: most builds are done before.
 */
export function watchBuild(
  { db, log }: Pick<JobContext, 'db' | 'log'>,
  everyMs?: number,
): { end: () => Promise<void> } {
  let watcher: Db | undefined;
  const telling = repeat(async () => {
    watcher ??= await db.openAnother();
    const row = await findBuildProgress(watcher, db.server.pid);
    if (row !== undefined) log.info({ event: 'index_progress', ...row }, describeBuild(row));
  }, everyMs);
  return {
    end: async () => {
      await telling.end();
      await watcher?.close();
    },
  };
}

/** Pure. */
export function describeBuild(row: BuildProgressRow): string {
  const what = `index of ${visible(row.table ?? 'a table')}: ${row.phase}`;
  if (row.waitsFor !== null) {
    const { pid, user, state, seconds, query } = row.waitsFor;
    const facts = [
      user === null ? undefined : `user ${user}`,
      state ?? undefined,
      seconds === null ? undefined : `for ${humanSeconds(seconds)}`,
    ].filter((fact) => fact !== undefined);
    const text = visible((query ?? '').replaceAll(/\s+/g, ' ').trim());
    return `${what}, now for pid ${String(pid)} (${facts.join(', ')})${text === '' ? '' : `: ${text}`}`;
  }
  if (row.totalBytes > 0)
    return `${what}, ${String(Math.floor((row.doneBytes / row.totalBytes) * 100))} % of ${humanBytes(row.totalBytes)}`;
  if (row.totalRows > 0) return `${what}, ${String(Math.floor((row.doneRows / row.totalRows) * 100))} %`;
  return what;
}
