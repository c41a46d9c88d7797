import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { humanCount } from '../../../output/human.ts';
import { inParallel } from '../../../process/parallel.ts';
import { runPipeline } from '../../../process/pipeline.ts';
import { displayName, relation } from '../../../sql/quote.ts';
import type { Dump } from '../database/dump.ts';
import { connectionString, sessionOptions } from '../database/connection.ts';
import type { TableContext } from './context.ts';
import type { RestoredTable } from './definition.ts';
import type { TablePlan } from './plan.ts';
import { workSchema } from './schema.ts';

/** A name as pg_dump writes it. */
const name = '("([^"]|"")*"|[^ ".]+)';

/**
 * Loads the rows of the tables, several at a time, each in a transaction of its own: what pg_restore writes for psql, with
 * another table behind its COPY. Throws tool_failed. Locks: ROW EXCLUSIVE on the new tables.
 */
export async function loadRows(
  context: TableContext,
  plan: TablePlan,
  dump: Dump,
  tables: RestoredTable[],
  directory: string,
): Promise<void> {
  const { programs, server } = plan;
  const { database } = context.target.server;
  await inParallel(context.jobs, tables, context.signal, async ({ member, target }, signal) => {
    if (member.rows === undefined) return;
    const list = join(directory, `rows-${String(member.rows.dumpId)}.list`);
    await writeFile(list, `${member.rows.line}\n`);
    const into = relation({ schema: workSchema(plan.working), name: target });
    // Up to the first COPY only: whatever follows are rows.
    const rename = `1,/^COPY /s/^COPY ${name}\\.${name} /COPY ${into.replaceAll(/[\\&/]/g, String.raw`\$&`)} /`;
    await runPipeline(
      [
        { path: programs.pgRestore, args: ['-a', '-L', list, '-f', '-', dump.path] },
        { path: 'sed', args: ['-E', rename] },
        {
          path: programs.psql,
          args: [
            ...['-X', '-q', '-w', '-1', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', '-'],
            connectionString(database),
          ],
        },
      ],
      {
        env: {
          ...context.connectionTo(database),
          PGOPTIONS: sessionOptions(context, server),
          // Rows may be in any encoding.
          LC_ALL: 'C',
        },
        signal,
      },
    );
    const known = plan.backup.manifest.logical.tables.find(
      (item) => item.schema === member.name.schema && item.name === member.name.name,
    );
    context.log.debug(
      { event: 'restore_rows_loaded', table: displayName(member.name), rows: known?.rows ?? null },
      `loaded ${displayName(member.name)}: ${humanCount(known?.rows ?? 0)} rows`,
    );
  });
}
