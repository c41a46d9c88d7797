import { reasonOf } from '../../process/child.ts';
import { copyOut } from '../../process/copy.ts';
import { copyLockTimeout, partQuery, pinStatements, type CopiedColumn } from '../../sql/export.ts';
import { literal, type RelationName } from '../../sql/quote.ts';
import type { ArchiveContext } from '../context.ts';
import { LineDigest } from '../digest.ts';

/**
 * The digest of a table's rows in an exported snapshot, copied as an archive copies them, masks included. Reads the whole
 * table in one process. Locks: ACCESS SHARE.
 */
export async function digestOfTable(
  context: Pick<ArchiveContext, 'programs' | 'connection' | 'signal'>,
  table: RelationName,
  columns: CopiedColumn[],
  snapshotId: string,
): Promise<string> {
  const programs = await context.programs();
  const copy = copyOut(partQuery(table, columns, { first: 0, end: null }), {
    programs,
    connection: context.connection,
    signal: context.signal,
    compressionLevel: null,
    before: [
      'begin isolation level repeatable read, read only',
      `set transaction snapshot ${literal(snapshotId)}`,
      ...pinStatements(),
      copyLockTimeout,
    ],
  });
  const digest = new LineDigest();
  try {
    for await (const chunk of copy.stored as AsyncIterable<Buffer>) digest.update(chunk);
    await copy.finished;
  } catch (error) {
    throw await reasonOf(error, copy.finished);
  } finally {
    copy.stop();
  }
  return digest.value();
}
