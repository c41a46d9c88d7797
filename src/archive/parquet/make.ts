import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DbopsError } from '../../errors.ts';
import { decompress } from '../../process/copy.ts';
import { visible } from '../../sql/quote.ts';
import type { Manifest, ManifestPart } from '../manifest.ts';
import type { SourceColumn } from './columns.ts';
import { workError } from './work-error.ts';
import { writeParquet, type ParquetOutput, type TextChunk } from './write.ts';

/** Where Parquet lies below its archive; the folder holds nothing else. docs/parquet-types.md says why it is this one. */
const parquetFolder = 'parquet/';

/** What of a manifest tells how its parts are read. */
export type TextArchive = Pick<Manifest, 'copiedColumns' | 'definition' | 'parts'>;

export interface MakeParquetInput {
  archive: TextArchive;
  /** The stored (compressed) bytes of a part, maybe asked for twice; or the path of a file with its plain bytes. */
  openPart: (part: ManifestPart) => Promise<Readable | string>;
  /** The zstd program; not needed where every part is a plain file. */
  zstd: string;
  /** A directory for this archive alone. The Parquet is left in it, under `parquet`; all else is removed again. */
  workDirectory: string;
  /** Megabytes for DuckDB; default 512. */
  memoryMb?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Makes Parquet of an archive's parts, about 1 GB of them at a time: so much room the work directory needs beside the
 * Parquet itself. What is decompressed is compared with the manifest. Throws copy_damaged for other bytes, tool_failed
 * or interrupted. The caller puts `files` into the store under their names (parquet/part-00000.parquet) below the
 * archive, and removes the directory.
 */
export async function makeParquet(input: MakeParquetInput): Promise<ParquetOutput> {
  try {
    return await makeBelow(input);
  } catch (error) {
    throw workError(error, input.workDirectory);
  }
}

async function makeBelow(input: MakeParquetInput): Promise<ParquetOutput> {
  const { archive, workDirectory } = input;
  await mkdir(workDirectory, { recursive: true });
  const { files, columns } = await writeParquet({
    columns: sourceColumns(archive),
    chunks: archive.parts.filter((part) => part.rows > 0).map((part, index) => textChunk(input, part, index)),
    directory: join(workDirectory, 'parquet'),
    memoryMb: input.memoryMb,
    signal: input.signal,
  });
  return { files: files.map((file) => ({ ...file, name: `${parquetFolder}${file.name}` })), columns };
}

/** The columns of the parts, in their order, with what the definition knows of their types. */
export function sourceColumns(archive: TextArchive): SourceColumn[] {
  const { columns, requirements } = archive.definition;
  const types = new Map(columns.map((column) => [column.name, column.type]));
  const named = (kind: string) => requirements.filter((item) => item.kind === kind);
  const enums = new Set(named('enum').map((item) => item.name));
  const domains = new Map(named('domain').map((item) => [item.name, baseOf(item.definition)]));
  return archive.copiedColumns.map((name): SourceColumn => {
    const type = types.get(name);
    if (type !== undefined) return { name, type, base: domains.get(type), isEnum: enums.has(type) };
    throw new DbopsError('copy_damaged', `the manifest has no definition of column ${visible(name)}`, {
      hint: 'Another copy of the archive may be whole: "dbops archive verify" tells.',
    });
  });
}

/** "numeric(12,2) collate ... default ... not null constraint ... check (...)": what stands before the first of them. */
function baseOf(definition: string): string {
  return definition.split(/ (?:collate|default|not null|null|constraint|check)\b/i)[0]?.trim() ?? definition;
}

function textChunk(input: MakeParquetInput, part: ManifestPart, index: number): TextChunk {
  const path = join(input.workDirectory, `chunk-${String(index)}.copy`);
  return {
    rows: part.rows,
    plainBytes: part.plainBytes,
    open: async () => {
      const source = await input.openPart(part);
      if (typeof source === 'string') return source;
      await decompressTo(path, source, part, input);
      return path;
    },
    close: () => rm(path, { force: true }),
  };
}

async function decompressTo(
  path: string,
  stored: Readable,
  part: ManifestPart,
  input: MakeParquetInput,
): Promise<void> {
  const { signal } = input;
  const hash = createHash('sha256');
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  const zstd = decompress(input.zstd, { signal });
  try {
    await Promise.all([
      pipeline(stored, zstd.stored),
      pipeline(zstd.plain, hashing, createWriteStream(path)),
      zstd.finished,
    ]);
  } catch (error) {
    zstd.stop();
    stored.destroy();
    // What zstd said of broken input is more than what its closed pipe says.
    const reason: unknown = await zstd.finished.then(() => error).catch((said: unknown) => said);
    throw isRefused(reason) ? otherBytes(part, reason.detail) : reason;
  }
  if (hash.digest('hex') === part.plainSha256) return;
  throw otherBytes(part);
}

/** zstd has read it, and does not take it. */
function isRefused(error: unknown): error is DbopsError {
  return (
    error instanceof DbopsError && error.code === 'tool_failed' && /ended with exit code/.test(error.message)
  );
}

function otherBytes(part: ManifestPart, detail?: string): DbopsError {
  return new DbopsError('copy_damaged', `${part.name} has other bytes than the manifest says`, {
    detail,
    hint: 'Another copy may be whole: "dbops archive verify" tells which.',
  });
}
