import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DbopsError } from '../../errors.ts';
import {
  describeColumn,
  isMisfit,
  misfitSelect,
  planColumns,
  writtenSelect,
  type ParquetColumn,
  type PlannedColumn,
  type SourceColumn,
} from './columns.ts';
import { copyTextReader, longestLine, usualLineBytes, guardFile, beginsWithMark } from './copy-text.ts';
import {
  duckLiteral,
  EngineError,
  isPattern,
  openEngine,
  type Engine,
  type EngineOptions,
} from './duckdb.ts';

/** Rows in COPY's text format. The file is asked for when it is needed, maybe twice, and given back after use. */
export interface TextChunk {
  rows: number;
  plainBytes: number;
  /** The path of a plain file. */
  open: () => Promise<string>;
  /** It is not needed for now. */
  close: () => Promise<void>;
}

export interface ParquetInput {
  columns: SourceColumn[];
  chunks: TextChunk[];
  /** Where the files are written, part-00000.parquet and so on; made when it is not there. */
  directory: string;
  /** Megabytes for DuckDB; default 512. */
  memoryMb?: number | undefined;
  /** Default 2. */
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface ParquetFile {
  /** part-00000.parquet */
  name: string;
  path: string;
  rows: number;
  sizeBytes: number;
  sha256: string;
}

export interface ParquetOutput {
  files: ParquetFile[];
  columns: ParquetColumn[];
}

/** Plain bytes of one file: some 100 to 250 MB of Parquet, which is what Spark and Trino like to read. */
const fileBytes = 1_000_000_000;
/** A row group is what a reader skips or reads, and what a writer holds in memory. */
const groupBytes = 128_000_000;
const groupRows = 1_000_000;

/**
 * Writes Parquet of files in COPY's text format, with zstd inside, rows as they come. Every value is read back from what
 * it became and compared with its text: a column in which one is not the same is kept as text, as a whole, and says so.
 * Throws tool_failed (DuckDB missing, a text that it cannot read, no memory or disk left) or interrupted.
 */
export async function writeParquet(input: ParquetInput): Promise<ParquetOutput> {
  if (isPattern(input.directory)) {
    throw new DbopsError('usage', `the directory ${input.directory} cannot be used for Parquet`, {
      hint: 'DuckDB takes * ? [ ] { } in a path for a pattern: set archive.workDirectory to one without them.',
    });
  }
  const columns = planColumns(input.columns);
  // Parquet knows no row without a column.
  if (columns.length === 0 || input.chunks.length === 0) return { files: [], columns: [] };
  await mkdir(input.directory, { recursive: true });
  const groups = inGroups(input.chunks);
  for (;;) {
    const files = await writeGroups(input, columns, groups);
    if (files !== undefined) return { files, columns: columns.map(describeColumn) };
  }
}

/** Neighbours together until a file is large enough. */
function inGroups(chunks: TextChunk[]): TextChunk[][] {
  const groups: TextChunk[][] = [];
  let bytes = Infinity;
  for (const chunk of chunks) {
    bytes += chunk.plainBytes;
    if (bytes > fileBytes) {
      groups.push([chunk]);
      bytes = chunk.plainBytes;
    } else groups.at(-1)?.push(chunk);
  }
  return groups;
}

/** Undefined when a column had to become text: then all files are written anew, so that they agree. */
async function writeGroups(
  input: ParquetInput,
  columns: PlannedColumn[],
  groups: TextChunk[][],
): Promise<ParquetFile[] | undefined> {
  const files: ParquetFile[] = [];
  for (const [index, chunks] of groups.entries()) {
    const name = `part-${String(index).padStart(5, '0')}.parquet`;
    const path = join(input.directory, name);
    const isDone = await withFiles(input, chunks, (paths) => writeFile(input, columns, chunks, paths, path));
    if (!isDone) return undefined;
    const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
    files.push({
      name,
      path,
      rows,
      sizeBytes: (await stat(path)).size,
      sha256: await hashFile(path, input.signal),
    });
  }
  return files;
}

async function withFiles<T>(
  input: ParquetInput,
  chunks: TextChunk[],
  work: (paths: string[]) => Promise<T>,
): Promise<T> {
  const guarded: string[] = [];
  const opened: TextChunk[] = [];
  const isWidened = input.columns.length === 1;
  try {
    const paths: string[] = [];
    for (const [index, chunk] of chunks.entries()) {
      opened.push(chunk);
      const path = await chunk.open();
      const isMarked = await beginsWithMark(path);
      if (!isWidened && !isMarked) {
        paths.push(path);
        continue;
      }
      const copy = join(input.directory, `guarded-${String(index)}.copy`);
      guarded.push(copy);
      paths.push(copy);
      await guardFile(path, copy, { isWidened, isMarked }, input.signal);
    }
    return await work(paths);
  } finally {
    for (const copy of guarded) await rm(copy, { force: true });
    for (const chunk of opened) await chunk.close();
  }
}

/** A try at writing one file: with less memory and longer lines than the last one where that was what it lacked. */
interface Attempt {
  lineBytes: number;
  isFrugal: boolean;
}

/** False when a value has no equal; then the columns know it. */
async function writeFile(
  input: ParquetInput,
  columns: PlannedColumn[],
  chunks: TextChunk[],
  paths: string[],
  path: string,
): Promise<boolean> {
  const attempt: Attempt = { lineBytes: usualLineBytes, isFrugal: false };
  for (;;) {
    try {
      await withEngine(input, attempt, (engine) =>
        copyToParquet(engine, columns, chunks, paths, path, attempt),
      );
      return true;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (isMisfit(error.words)) {
        const before = kept(columns);
        await withEngine(input, attempt, (engine) => countMisfits(engine, columns, paths, attempt));
        if (kept(columns) === before) throw unwritable(error);
        return false;
      }
      if (!(await isWorthAnother(attempt, error, paths, input.signal))) throw unwritable(error);
    }
  }
}

/** How many columns are kept as text because of a value. */
function kept(columns: PlannedColumn[]): number {
  return columns.filter((column) => column.misfits > 0n).length;
}

async function isWorthAnother(
  attempt: Attempt,
  error: EngineError,
  paths: string[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  // A line that reaches over two buffers is another message than one that is only too long.
  if (
    /maximum.line.size|max_line_size|full read on this file/i.test(error.words) &&
    attempt.lineBytes === usualLineBytes
  ) {
    attempt.lineBytes = (await longestLine(paths, signal)) + 1;
    return attempt.lineBytes > usualLineBytes;
  }
  if (error.kind !== 'Out of Memory Error' || attempt.isFrugal) return false;
  attempt.isFrugal = true;
  return true;
}

async function withEngine(
  input: ParquetInput,
  attempt: Attempt,
  work: (engine: Engine) => Promise<void>,
): Promise<void> {
  const spill = join(input.directory, 'spill');
  const memoryMb = input.memoryMb ?? 512;
  const options: EngineOptions = {
    // A line is held several times over: as read, without its escapes, and in its row group.
    memoryMb: Math.max(memoryMb, Math.ceil((attempt.lineBytes * 8) / 1_000_000)),
    threads: attempt.isFrugal || attempt.lineBytes > usualLineBytes ? 1 : input.threads,
    temporaryDirectory: spill,
    signal: input.signal,
  };
  const engine = await openEngine(options);
  try {
    if (attempt.isFrugal) await engine.run('set preserve_insertion_order = false');
    await work(engine);
  } finally {
    engine.close();
    await rm(spill, { recursive: true, force: true });
  }
}

async function copyToParquet(
  engine: Engine,
  columns: PlannedColumn[],
  chunks: TextChunk[],
  paths: string[],
  path: string,
  attempt: Attempt,
): Promise<void> {
  const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
  const plainBytes = chunks.reduce((sum, chunk) => sum + chunk.plainBytes, 0);
  const perGroup = Math.floor((groupBytes / Math.max(plainBytes, 1)) * rows) >> (attempt.isFrugal ? 2 : 0);
  const rowGroup = Math.min(Math.max(perGroup, 2048), groupRows);
  await engine.run(
    `copy (${writtenSelect(columns, reader(columns, paths, attempt))}) ` +
      `to ${duckLiteral(path)} (format parquet, compression zstd, row_group_size ${String(rowGroup)})`,
  );
  const [[written] = []] = await engine.rows(
    `select cast(sum(num_rows) as bigint) from parquet_file_metadata(${duckLiteral(path)})`,
  );
  if (Number(written) === rows) return;
  throw new DbopsError(
    'tool_failed',
    `duckdb wrote ${String(Number(written))} rows of ${String(rows)} to Parquet`,
    { hint: 'The parts are whole; turn "parquet" off for this table and report it.' },
  );
}

async function countMisfits(
  engine: Engine,
  columns: PlannedColumn[],
  paths: string[],
  attempt: Attempt,
): Promise<void> {
  const [row = []] = await engine.rows(misfitSelect(columns, reader(columns, paths, attempt)));
  for (const [index, column] of columns.entries()) column.misfits += (row[index] ?? 0n) as bigint;
}

function reader(columns: PlannedColumn[], paths: string[], attempt: Attempt): string {
  // A single column was widened by a second, empty one.
  return copyTextReader(paths, columns.length === 1 ? 2 : columns.length, attempt.lineBytes);
}

function unwritable(error: EngineError): DbopsError {
  return new DbopsError('tool_failed', 'the rows cannot be turned into Parquet', {
    detail: error.detail,
    hint:
      error.kind === 'Out of Memory Error'
        ? 'Give it more memory, or turn "parquet" off for this table: the parts have every row.'
        : 'Look at what DuckDB said; turn "parquet" off for this table if it stays: the parts have every row.',
    cause: error,
  });
}

async function hashFile(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal }))
    hash.update(chunk as Buffer);
  return hash.digest('hex');
}
