import { DbopsError } from '../../errors.ts';
import { copyOut, decompress } from '../../process/copy.ts';
import { countBlocks, countRows } from '../../sql/restore.ts';
import { ident, relation } from '../../sql/quote.ts';
import type { ArchiveContext } from '../context.ts';
import { addDigests, LineDigest } from '../digest.ts';
import { readBack } from '../export/read-back.ts';
import { pinnedStatements } from './changes.ts';
import { withGoodCopy } from './copies.ts';
import type { LoadTarget } from './plan.ts';

/** Throws archive_damaged when the table has not exactly the rows of the manifest. Reads the whole table. */
export async function proveCount(context: ArchiveContext, plan: LoadTarget): Promise<void> {
  const rows = await countRows(context.db, plan.target);
  const { manifest } = plan.archive;
  if (rows === BigInt(manifest.rows)) return;
  throw new DbopsError(
    'archive_damaged',
    `${plan.label} has ${String(rows)} rows, and the manifest of archive ${plan.archive.id} says ${String(manifest.rows)}`,
    {
      hint: 'Its parts and its manifest contradict each other: look for another copy with "dbops archive verify".',
    },
  );
}

/** The digest of the archived rows: from the manifest where it has one, else from the parts. */
export async function archivedDigest(context: ArchiveContext, plan: LoadTarget): Promise<string> {
  const { manifest } = plan.archive;
  if (manifest.digest !== null) return manifest.digest;
  const { zstd } = await context.programs();
  let sum = '0'.repeat(64);
  for (const part of manifest.parts) {
    const { digest } = await withGoodCopy(context, plan, part, (store, key) =>
      readBack(store, key, part, { zstd, signal: context.signal, withDigest: true }),
    );
    sum = addDigests(sum, digest ?? '0');
  }
  return sum;
}

/** The digest of the rows as they lie in the table, read as they were exported. */
export async function restoredDigest(
  context: ArchiveContext,
  plan: LoadTarget,
  oid: number,
): Promise<string> {
  const columns = plan.archive.manifest.copiedColumns.map(ident).join(', ');
  const blocks = await countBlocks(context.db, oid);
  const middle = Math.ceil(blocks / 2);
  const ranges =
    context.jobs < 2 || blocks < 2
      ? ['']
      : [` where t.ctid < '(${String(middle)},0)'`, ` where t.ctid >= '(${String(middle)},0)'`];
  const digests = await Promise.all(
    ranges.map((range) =>
      digestOf(context, plan, `select ${columns} from only ${relation(plan.target)} as t${range}`),
    ),
  );
  return digests.reduce((sum, digest) => addDigests(sum, digest), '0'.repeat(64));
}

async function digestOf(context: ArchiveContext, plan: LoadTarget, query: string): Promise<string> {
  const programs = await context.programs();
  const copy = copyOut(query, {
    programs,
    connection: context.connection,
    signal: context.signal,
    isGentle: context.isGentle,
    compressionLevel: 1,
    before: ['begin isolation level repeatable read, read only', ...pinnedStatements(plan.archive)],
  });
  const plain = decompress(programs.zstd, { signal: context.signal });
  try {
    copy.stored.pipe(plain.stored);
    const digest = new LineDigest();
    for await (const chunk of plain.plain as AsyncIterable<Buffer>) digest.update(chunk);
    await Promise.all([copy.finished, plain.finished]);
    return digest.value();
  } catch (error) {
    copy.stop();
    plain.stop();
    throw error;
  }
}

/** Throws archive_damaged when the rows in the table are not those that were archived. */
export function compareDigests(plan: LoadTarget, archived: string, restored: string): void {
  if (archived === restored) return;
  throw new DbopsError(
    'archive_damaged',
    `the rows of ${plan.label} are not those of archive ${plan.archive.id}`,
    {
      detail: `digest archived ${archived}, restored ${restored}`,
      hint: 'The bytes were right, so a type reads or writes a value differently here: compare the versions of the servers and their extensions.',
    },
  );
}
