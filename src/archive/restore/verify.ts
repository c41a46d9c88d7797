import type { Readable } from 'node:stream';
import { DbopsError } from '../../errors.ts';
import { reasonOf } from '../../process/child.ts';
import { copyOut, decompress } from '../../process/copy.ts';
import { countBlocks, countRows } from '../../sql/restore.ts';
import { ident, relation } from '../../sql/quote.ts';
import type { Store } from '../../storage/store.ts';
import type { ArchiveContext } from '../context.ts';
import { addDigests, LineDigest } from '../digest.ts';
import { compareStored, forward } from '../export/read-back.ts';
import type { ManifestPart } from '../manifest.ts';
import { pinnedStatements } from './changes.ts';
import { withGoodCopy } from './copies.ts';
import type { LoadTarget } from './plan.ts';

const zero = '0'.repeat(64);

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
  const { parts } = manifest;
  let sum = zero;
  let next = 0;
  const worker = async () => {
    for (let part = parts[next++]; part !== undefined; part = parts[next++]) {
      const known = part;
      const digest = await withGoodCopy(context, plan, known, (store, key) =>
        digestOfPart(context, store, key, known),
      );
      sum = addDigests(sum, digest);
    }
  };
  await Promise.all(Array.from({ length: Math.min(context.jobs, parts.length) }, worker));
  return sum;
}

async function digestOfPart(
  context: ArchiveContext,
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

async function digestOf(plain: Readable): Promise<string> {
  const digest = new LineDigest();
  for await (const chunk of plain as AsyncIterable<Buffer>) digest.update(chunk);
  return digest.value();
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
      digestOfQuery(context, plan, `select ${columns} from only ${relation(plan.target)} as t${range}`),
    ),
  );
  return digests.reduce((sum, digest) => addDigests(sum, digest), zero);
}

async function digestOfQuery(context: ArchiveContext, plan: LoadTarget, query: string): Promise<string> {
  const copy = copyOut(query, {
    programs: await context.programs(),
    connection: context.connection,
    signal: context.signal,
    isGentle: context.isGentle,
    compressionLevel: null,
    before: ['begin isolation level repeatable read, read only', ...pinnedStatements(plan.archive)],
  });
  try {
    const digest = await digestOf(copy.stored);
    await copy.finished;
    return digest;
  } catch (error) {
    copy.stop();
    throw await reasonOf(error, copy.finished);
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
