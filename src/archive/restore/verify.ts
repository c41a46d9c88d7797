import { DbopsError } from '../../errors.ts';
import { decompress } from '../../process/copy.ts';
import { countBlocks, countRows } from '../../sql/restore.ts';
import { ident, relation } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import type { FoundArchive } from '../catalogue.ts';
import type { ArchiveContext } from '../context.ts';
import { addDigests, digestOf } from '../digest.ts';
import { digestOfQuery } from '../export/table-digest.ts';
import type { ManifestPart } from '../manifest.ts';
import { inParallel } from '../../process/parallel.ts';
import { pinnedStatements } from './changes.ts';
import { withGoodCopy } from './copies.ts';
import type { LoadTarget } from './plan.ts';
import { compareStored, forward } from '../../storage/read.ts';

type DigestContext = Pick<ArchiveContext, 'programs' | 'signal' | 'jobs' | 'log'>;

/** Throws copy_damaged when the table has not exactly the rows of the manifest. Reads the whole table. */
export async function proveCount(context: ArchiveContext, plan: LoadTarget): Promise<void> {
  const rows = await countRows(context.db, plan.target);
  const { manifest } = plan.archive;
  if (rows === BigInt(manifest.rows)) return;
  throw new DbopsError(
    'copy_damaged',
    `${plan.label} has ${String(rows)} rows, and the manifest of archive ${plan.archive.id} says ${String(manifest.rows)}`,
    {
      hint: 'Its parts and its manifest contradict each other: look for another copy with "dbops archive verify".',
    },
  );
}

/** The digest of the archived rows: from the manifest where it has one, else from the parts. */
export async function archivedDigest(
  context: DigestContext,
  archive: Pick<FoundArchive, 'manifest' | 'stores' | 'place'>,
): Promise<string> {
  const { manifest } = archive;
  if (manifest.digest !== null) return manifest.digest;
  const digests = await inParallel(context.jobs, manifest.parts, context.signal, (part, signal) =>
    withGoodCopy({ ...context, signal }, archive, part, (store, key) =>
      digestOfPart({ ...context, signal }, store, key, part),
    ),
  );
  return addDigests(...digests);
}

async function digestOfPart(
  context: DigestContext,
  store: Store,
  key: string,
  part: ManifestPart,
): Promise<string> {
  const { signal } = context;
  const source = await store.get(key, { signal });
  const zstd = decompress((await context.programs()).zstd, { signal });
  try {
    const [stored, digest] = await Promise.all([forward(source, zstd.stored), digestOf(zstd.plain)]);
    compareStored(store, key, stored, part);
    await zstd.finished;
    return digest;
  } catch (error) {
    zstd.stop();
    throw error;
  }
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
  const before = ['begin isolation level repeatable read, read only', ...pinnedStatements(plan.archive)];
  const digests = await inParallel(ranges.length, ranges, context.signal, (range, signal) =>
    digestOfQuery(
      { ...context, signal },
      `select ${columns} from only ${relation(plan.target)} as t${range}`,
      before,
    ),
  );
  return addDigests(...digests);
}

/** Throws copy_damaged when the rows in the table are not those that were archived. */
export function compareDigests(plan: LoadTarget, archived: string, restored: string): void {
  if (archived === restored) return;
  throw new DbopsError(
    'copy_damaged',
    `the rows of ${plan.label} are not those of archive ${plan.archive.id}`,
    {
      detail: `digest archived ${archived}, restored ${restored}`,
      hint: 'The bytes were right, so a type reads or writes a value differently here: compare the versions of the servers and their extensions.',
    },
  );
}
