import { copyOut, decompress } from '../../process/copy.ts';
import { partQuery, pinStatements, type CopiedColumn } from '../../sql/export.ts';
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
    compressionLevel: 1,
    before: [
      'begin isolation level repeatable read, read only',
      `set transaction snapshot ${literal(snapshotId)}`,
      ...pinStatements(),
    ],
  });
  const plain = decompress(programs.zstd, { signal: context.signal });
  copy.stored.pipe(plain.stored);
  try {
    const digest = new LineDigest();
    for await (const chunk of plain.plain as AsyncIterable<Buffer>) digest.update(chunk);
    await Promise.all([copy.finished, plain.finished]);
    return digest.value();
  } catch (error) {
    copy.stop();
    plain.stop();
    // The program that failed first knows why; a line without an end is only its echo.
    await copy.finished;
    throw error;
  }
}
