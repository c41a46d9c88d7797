import { open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import { together } from '../../../process/parallel.ts';
import { bodyOf, runPipeline, startPipeline } from '../../../process/pipeline.ts';
import type { Making } from '../maker.ts';
import { dumpEnvironment, pgDump, zstd } from './commands.ts';
import type { Dumped, DumpRun } from './dump.ts';
import { keepComplaints } from './failure.ts';
import type { LogicalPlan } from './plan.ts';
import { Queue } from './queue.ts';
import { parseSequenceValues, parseToc, type Toc } from '../../toc.ts';

/** What COPY's text ends with in a file of pg_dump, after the last row. */
const endMarker = '\\.\n\n\n';
const markerLines = 3;
const newline = 10;
/** Larger files are counted by a program. */
const countedHereBytes = 4 * 1024 * 1024;

/**
 * Dumps into the work directory with parallel sessions. Each table is compressed into the stores as soon as pg_dump has
 * finished it, and its file removed. Throws tool_failed, or what the stores throw.
 */
export async function dumpToDirectory(
  making: Making,
  plan: LogicalPlan,
  run: DumpRun,
  work: string,
): Promise<Dumped> {
  const { context } = making;
  const directory = join(work, 'dump');
  await rm(directory, { recursive: true, force: true });
  const finished = new Queue<string>();
  const rows = new Map<number, number>();
  const queued = new Set<string>();
  const enqueue = (file: string) => {
    if (queued.has(file)) return;
    queued.add(file);
    finished.push(file);
  };
  const dump = async (signal: AbortSignal): Promise<Dumped> => {
    try {
      await runPipeline(
        [pgDump(context, plan, { snapshotId: run.snapshotId, directory, names: run.names })],
        {
          env: dumpEnvironment(context),
          signal,
          onLine: (line) => {
            run.onLine(line);
            const item = /finished item (\d+) TABLE DATA /.exec(line)?.[1];
            if (item !== undefined) enqueue(`${item}.dat`);
            return keepComplaints(line);
          },
        },
      );
      const toc = await readToc(making, plan, directory, signal);
      const sequenceValues = await readSequenceValues(making, plan, { directory, work, toc, signal });
      // The table of contents goes last: it tells what belongs to the dump.
      const files = (await readdir(directory)).filter((name) => name !== 'toc.dat').sort();
      for (const file of files) enqueue(file);
      enqueue('toc.dat');
      return { toc, sequenceValues, rows };
    } finally {
      finished.close();
    }
  };
  const storing = async (signal: AbortSignal): Promise<void> => {
    for (let file = await finished.next(); file !== undefined; file = await finished.next()) {
      if (signal.aborted) return;
      const path = join(directory, file);
      const dumpId = /^(\d+)\.dat$/.exec(file)?.[1];
      const [, counted] = await together(
        signal,
        async (own) => {
          const body = bodyOf(startPipeline([zstd(context, plan, path)], { signal: own }));
          await making.sink.put(`dump/${file}.zst`, run.counting(body));
        },
        async (own) => (dumpId === undefined ? undefined : await countRows(path, own)),
      );
      if (counted !== undefined) rows.set(Number(dumpId), counted);
      await rm(path, { force: true });
    }
  };
  const [dumped] = await together(run.signal, dump, ...Array.from({ length: context.jobs }, () => storing));
  return dumped;
}

/** Every table with rows has its own file, which is in the store and was whole. */
async function readToc(
  making: Making,
  plan: LogicalPlan,
  directory: string,
  signal: AbortSignal,
): Promise<Toc> {
  await stat(join(directory, 'toc.dat')).catch((cause: unknown) => {
    throw new DbopsError('tool_failed', 'pg_dump ended with exit code 0 and wrote no table of contents', {
      hint: `Is ${plan.tools.pg_dump.path} what it should be?`,
      cause,
    });
  });
  const list = await runPipeline([{ path: plan.tools.pg_restore.path, args: ['-l', directory] }], {
    env: dumpEnvironment(making.context),
    signal,
  });
  return parseToc(list.toString());
}

/** pg_dump reads sequences past its snapshot: what it wrote is what a restore will have. */
async function readSequenceValues(
  making: Making,
  plan: LogicalPlan,
  where: { directory: string; work: string; toc: Toc; signal: AbortSignal },
): Promise<Dumped['sequenceValues']> {
  if (where.toc.sequenceValues.length === 0) return new Map();
  const list = join(where.work, 'sequences.list');
  await writeFile(list, `${where.toc.sequenceValues.join('\n')}\n`);
  const sql = await runPipeline(
    [{ path: plan.tools.pg_restore.path, args: ['-L', list, '-f', '-', where.directory] }],
    { env: dumpEnvironment(making.context), signal: where.signal },
  );
  return parseSequenceValues(sql.toString());
}

/** Rows of a file of COPY's text, a line each. Throws tool_failed where its end is missing. */
async function countRows(path: string, signal: AbortSignal): Promise<number> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    const start = Math.max(0, size - endMarker.length);
    const { buffer } = await handle.read(Buffer.alloc(size - start), 0, size - start, start);
    if (buffer.toString('latin1') !== endMarker) {
      throw new DbopsError('tool_failed', `${path} was cut off: it does not end as pg_dump ends its files`, {
        hint: 'Look for the reason in what pg_dump said, and whether the work directory has space.',
      });
    }
    if (size > countedHereBytes) {
      const counted = await runPipeline([{ path: 'wc', args: ['-l', path] }], { signal });
      return Number.parseInt(counted.toString(), 10) - markerLines;
    }
    const whole = await handle.read(Buffer.alloc(size), 0, size, 0);
    let lines = 0;
    for (let at = whole.buffer.indexOf(newline); at !== -1; at = whole.buffer.indexOf(newline, at + 1))
      lines += 1;
    return lines - markerLines;
  } finally {
    await handle.close();
  }
}
