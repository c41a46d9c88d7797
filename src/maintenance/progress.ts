import { humanBytes } from '../output/human.ts';
import { repeat } from '../output/repeat.ts';
import type { JobContext } from '../partition/context.ts';
import type { Db } from '../pg/connection.ts';
import { listVacuumProgress, type VacuumProgressRow } from '../sql/maintenance.ts';
import { visible } from '../sql/quote.ts';

/** block_size is 8 kB nearly everywhere, and a progress line need not be exact. */
const blockBytes = 8192;

/** Logs every ten seconds how far the VACUUMs of these sessions have come; a session that is added later counts. */
export function watchProgress(
  { db, log }: Pick<JobContext, 'db' | 'log'>,
  sessions: readonly Db[],
  everyMs?: number,
): { end: () => Promise<void> } {
  return repeat(async () => {
    const rows = await listVacuumProgress(
      db,
      sessions.map(({ server }) => server.pid),
    );
    for (const row of rows) log.info({ event: 'vacuum_progress', ...row }, describeProgress(row));
  }, everyMs);
}

/** Pure. */
export function describeProgress(row: VacuumProgressRow): string {
  const { table, phase, scannedBlocks, totalBlocks, indexPasses } = row;
  const share = totalBlocks === 0 ? 0 : Math.floor((scannedBlocks / totalBlocks) * 100);
  const passes = indexPasses === 0 ? '' : `, indexes vacuumed ${String(indexPasses)} times`;
  return `vacuum ${visible(table ?? 'a table')}: ${phase}, ${String(share)} % of ${humanBytes(totalBlocks * blockBytes)}${passes}`;
}
