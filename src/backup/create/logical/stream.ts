import { text } from 'node:stream/consumers';
import { DbopsError } from '../../../errors.ts';
import { bodyOf, startPipeline, type Stage } from '../../../process/pipeline.ts';
import type { Making } from '../maker.ts';
import { dumpEnvironment, pgDump, zstd } from './commands.ts';
import type { Dumped, DumpRun } from './dump.ts';
import { keepComplaints } from './failure.ts';
import type { LogicalPlan } from './plan.ts';
import { parseSequenceValues, parseToc } from '../../toc.ts';

/** Lines of each COPY block, and what sets sequences, of a script of pg_restore. */
const countBlocks = String.raw`
!inside && / FROM stdin;$/ { inside = 1; rows = 0; next }
inside && $0 == "\\." { inside = 0; print "rows " rows; next }
inside { rows++; next }
/^SELECT pg_catalog\.setval\(/ { print }`;

/** Dumps in custom format through kernel pipes into the stores; pg_restore reads it all on the way, and its rows are counted. */
export async function dumpToStream(making: Making, plan: LogicalPlan, run: DumpRun): Promise<Dumped> {
  const restore = plan.tools.pg_restore.path;
  const stages: Stage[] = [
    {
      ...pgDump(making.context, plan, { snapshotId: run.snapshotId, names: run.names }),
      side: [{ path: restore, args: ['-l'] }],
    },
    {
      path: 'cat',
      args: [],
      side: [
        { path: restore, args: ['-a', '-f', '-'] },
        { path: 'awk', args: [countBlocks] },
      ],
    },
    zstd(making.context, plan),
  ];
  const [list, script] = await put(making, run, 'dump.custom.zst', stages);
  const toc = parseToc(list);
  // pg_restore writes the data in the order of the table of contents.
  const counts = [...script.matchAll(/^rows (\d+)$/gm)].map((match) => Number(match[1]));
  if (counts.length !== toc.tableData.size) {
    throw new DbopsError(
      'tool_failed',
      `the dump holds the rows of ${String(counts.length)} tables, and its table of contents names ${String(toc.tableData.size)}`,
    );
  }
  const rows = new Map([...toc.tableData.values()].map((dumpId, index) => [dumpId, counts[index] ?? 0]));
  return { toc, rows, sequenceValues: parseSequenceValues(script) };
}

/** Dumps definitions alone, as a script for psql. */
export async function dumpDefinitions(making: Making, plan: LogicalPlan, run: DumpRun): Promise<null> {
  const dump = pgDump(making.context, plan, { snapshotId: run.snapshotId, names: run.names });
  const stages = [{ ...dump, side: endOfScript }, zstd(making.context, plan)];
  const [end] = await put(making, run, 'schema.sql.zst', stages);
  checkEnd('pg_dump', end, 'PostgreSQL database dump complete');
  return null;
}

/** For the side of a program that writes a script. */
export const endOfScript = [{ path: 'tail', args: ['-n', '20'] }];

/** Throws tool_failed where the last line that is always there is missing. */
export function checkEnd(program: string, end: string, marker: string): void {
  if (end.includes(`-- ${marker}`)) return;
  throw new DbopsError('tool_failed', `what ${program} wrote was cut off: "${marker}" is missing at its end`);
}

async function put(making: Making, run: DumpRun, name: string, stages: Stage[]): Promise<[string, string]> {
  const running = startPipeline(stages, {
    env: dumpEnvironment(making.context),
    signal: run.signal,
    onLine: (line) => {
      run.onLine(line);
      return keepComplaints(line);
    },
  });
  const sides = Promise.all(running.sides.map((side) => text(side)));
  sides.catch(() => undefined);
  await making.sink.put(name, run.counting(bodyOf(running)));
  const [first = '', second = ''] = await sides;
  return [first, second];
}
