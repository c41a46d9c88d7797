import { reasonOf } from '../../process/child.ts';
import { copyOut } from '../../process/copy.ts';
import { partQuery, snapshotStatements, type CopiedColumn } from '../../sql/export.ts';
import type { RelationName } from '../../sql/quote.ts';
import type { ArchiveContext } from '../context.ts';
import { digestOf } from '../digest.ts';

type CopyContext = Pick<ArchiveContext, 'programs' | 'connection' | 'signal' | 'isGentle'>;

/**
 * The digest of a table's rows in an exported snapshot, copied as an archive copies them, masks included. Reads the whole
 * table in one process. Locks: ACCESS SHARE.
 */
export async function digestOfTable(
  context: CopyContext,
  table: RelationName,
  columns: CopiedColumn[],
  snapshotId: string,
): Promise<string> {
  const query = partQuery(table, columns, { first: 0, end: null });
  return await digestOfQuery(context, query, snapshotStatements(snapshotId));
}

/** The digest of what a query gives in a session that begins with these statements. Throws tool_failed. */
export async function digestOfQuery(context: CopyContext, query: string, before: string[]): Promise<string> {
  const copy = copyOut(query, {
    programs: await context.programs(),
    connection: context.connection,
    signal: context.signal,
    isGentle: context.isGentle,
    compressionLevel: null,
    before,
  });
  try {
    const digest = await digestOf(copy.stored);
    await copy.finished;
    return digest;
  } catch (error) {
    throw await reasonOf(error, copy.finished);
  } finally {
    copy.stop();
  }
}
