import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { DbopsError } from '../../errors.ts';
import type { Look } from '../../inspect/look.ts';
import { humanSeconds } from '../../output/human.ts';
import { writeStdout } from '../../output/stdout.ts';
import { renderTable, type Column } from '../../output/table.ts';
import type { Db } from '../../pg/connection.ts';
import { visible } from '../../sql/quote.ts';
import type { CommandContext, CommandDefinition, Example, Result } from '../command.ts';
import { defineCommand } from '../command.ts';
import { countOption } from '../options.ts';

interface LookOptions {
  limit: string;
  watch?: string | true;
}

/** A question about the server, for people. */
interface Inspection<Options, Row> {
  examples: Example[];
  notes?: string;
  /** Flags besides --limit and --watch. */
  declare?: (command: Command) => void;
  look: (db: Db, limit: number, options: Options) => Promise<Look<Row>>;
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
      const { options } = context;
      const limit = countOption('--limit', options.limit);
      const everySeconds = watchOption(options);
      const db = await context.connect();
      if (everySeconds !== undefined) return await watch(context, inspection, db, limit, everySeconds);
      const look = await inspection.look(db, limit, options);
      const { rows, notes, unseen, missing } = look;
      return {
        data: { rows, notes, missing: missing ?? null },
        text: missing ?? render(inspection, look),
        warnings: unseen,
        // What has no answer is not fine.
        exitCode: missing === undefined ? 0 : 6,
      };
    },
  });
}

function watchOption({ watch, json }: LookOptions & { json?: boolean }): number | undefined {
  if (watch === undefined) return undefined;
  if (json === true) throw new DbopsError('usage', '--json and --watch exclude each other');
  return watch === true ? 2 : countOption('--watch', watch);
}

async function watch<Options, Row>(
  { options, signal }: CommandContext<Options>,
  inspection: Inspection<Options, Row>,
  db: Db,
  limit: number,
  everySeconds: number,
): Promise<Result> {
  // A reader that has gone away ends the watch.
  const gone = new AbortController();
  process.stdout.once('error', () => gone.abort());
  const ended = AbortSignal.any([signal, gone.signal]);
  try {
    while (!ended.aborted) {
      const look = await inspection.look(db, limit, options);
      const time = new Date().toISOString().slice(0, 19);
      const text = look.missing ?? (await render(inspection, look));
      const clear = process.stdout.isTTY ? '\u001b[H\u001b[2J\u001b[3J' : '';
      await writeStdout(
        `${clear}${[`${time}Z`, text, ...look.unseen].join('\n')}\n${clear === '' ? '\n' : ''}`,
      );
      await sleep(everySeconds * 1000, undefined, { signal: ended });
    }
  } catch (error) {
    if (!ended.aborted) throw error;
  }
  return { data: null, text: '', exitCode: !signal.aborted ? 0 : signal.reason === 'SIGINT' ? 130 : 143 };
}

async function render<Options, Row>(
  { columns, nothing, after }: Inspection<Options, Row>,
  { rows, notes }: Look<Row>,
): Promise<string> {
  const table = rows.length === 0 ? nothing : await renderTable(rows, columns);
  return [table, ...(after?.(rows) ?? []), ...notes].join('\n');
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
