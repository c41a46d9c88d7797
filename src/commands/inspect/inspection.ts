import type { Command } from 'commander';
import type { Look } from '../../inspect/look.ts';
import { humanSeconds } from '../../output/human.ts';
import type { Frame } from '../../output/screen.ts';
import { renderTable, type Column } from '../../output/table.ts';
import type { Db } from '../../pg/connection.ts';
import { visible } from '../../sql/quote.ts';
import type { CommandDefinition, Example, Result } from '../command.ts';
import { defineCommand } from '../command.ts';
import { countOption } from '../options.ts';
import { timeLine, watch, watchOption } from './watch.ts';

interface LookOptions {
  limit: string;
  watch?: string | true;
}

/** What a look is given. */
interface Asked {
  db: Db;
  limit: number;
  /** The clock of the server, which goes on while it is watched. */
  now: Date;
}

/** A question about the server, for people. */
interface Inspection<Options, Row> {
  examples: Example[];
  notes?: string;
  /** Flags besides --limit and --watch. */
  declare?: (command: Command) => void;
  look: (asked: Asked, options: Options) => Promise<Look<Row>>;
  columns: Column<Row>[];
  /** What is said when there is no row. */
  nothing: string;
  /** What follows the table. */
  after?: (rows: Row[]) => string[];
}

/** The command of a question: once, or again and again over one session until Ctrl-C. */
export function defineInspection<Options, Row>(inspection: Inspection<Options, Row>): CommandDefinition {
  return defineCommand<Options & LookOptions>({
    changes: false,
    examples: inspection.examples,
    ...(inspection.notes === undefined ? {} : { notes: inspection.notes }),
    declare(cmd) {
      inspection.declare?.(cmd);
      cmd.option('--limit <count>', 'how many rows', '20');
      cmd.option('--watch [seconds]', 'ask again every 2 seconds, or as often as said, until Ctrl-C');
    },
    async run(context): Promise<Result> {
      const { options, signal } = context;
      const limit = countOption('--limit', options.limit);
      const everySeconds = watchOption(options);
      const db = await context.connect();
      const clock = serverClock();
      const ask = (asked: Db) => inspection.look({ db: asked, limit, now: clock(asked) }, options);
      if (everySeconds !== undefined)
        return await watch(async (asked) => glanceAt(inspection, await ask(asked)), {
          db,
          everySeconds,
          signal,
        });
      const look = await ask(db);
      const { rows, notes, unseen, missing } = look;
      return {
        data: { rows, notes, missing: missing ?? null },
        text: render(inspection, look),
        warnings: unseen,
        // What has no answer is not fine.
        exitCode: missing === undefined ? 0 : 6,
      };
    },
  });
}

/** The clock of the server of a session, which was read when that was opened. */
function serverClock(): (db: Db) => Date {
  let of: Db | undefined;
  let opened = 0;
  return (db) => {
    if (of !== db) [of, opened] = [db, performance.now()];
    return new Date(db.server.now.getTime() + performance.now() - opened);
  };
}

/** A look as a frame of a watch, made for the terminal as it is when it is drawn. */
function glanceAt<Options, Row>(inspection: Inspection<Options, Row>, look: Look<Row>): () => Promise<Frame> {
  const time = timeLine();
  return async () => {
    const { head, table, tail } = await frameOf(inspection, look);
    return { head: [time, ...head], table, tail: [...tail, ...look.unseen] };
  };
}

async function frameOf<Options, Row>(
  { columns, nothing, after }: Inspection<Options, Row>,
  { rows, notes, missing }: Look<Row>,
): Promise<Frame> {
  if (missing !== undefined) return { head: missing.split('\n'), table: [], tail: [] };
  const table = rows.length === 0 ? nothing : await renderTable(rows, columns);
  return { head: [], table: table.split('\n'), tail: [...(after?.(rows) ?? []), ...notes] };
}

async function render<Options, Row>(inspection: Inspection<Options, Row>, look: Look<Row>): Promise<string> {
  const { head, table, tail } = await frameOf(inspection, look);
  return [...head, ...table, ...tail].join('\n');
}

/** A duration; nothing where there is none. The clocks of the server's processes differ by a little. */
export function shownSeconds(seconds: number | null): string {
  return seconds === null ? '' : humanSeconds(Math.max(0, seconds));
}

/** A statement on one line, cut: --json has more of it. */
export function shownQuery(query: string): string {
  const line = visible(query.replaceAll(/\s+/g, ' ').trim());
  return line.length <= 100 ? line : `${line.slice(0, 99)}…`;
}
