import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { toolFailure } from '../../../process/child.ts';
import { bodyOf, startPipeline } from '../../../process/pipeline.ts';
import { withStored, type FetchContext } from '../../fetch.ts';
import { parseToc } from '../../toc.ts';
import { connectionString } from './connection.ts';
import { fetchDump, runRestoreTool, tocName, type Dump, type DumpBackup, type DumpContext } from './dump.ts';
import { entriesIn, unquoted, written, type DumpEntry } from './script.ts';

/** The rows of one table that go from the store to COPY, and never lie on the disk decompressed. */
export interface DirectRows {
  dumpId: number;
  /** The file of the backup. */
  file: string;
  /** What the dump begins each session with: encoding, search_path and the like. */
  settings: string;
  /** As it is written in the dump. */
  table: string;
  /** COPY ... FROM stdin, without a semicolon. */
  copy: string;
}

/** A dump on disk, but for the rows of large tables. */
export interface DumpInParts {
  dump: Dump;
  /** Where it is. */
  directory: string;
  rows: DirectRows[];
  /** What is in it beside these rows; empty where there are none. */
  rest: DumpEntry[];
}

/** A program is started for each of these; smaller ones pg_restore reads from the disk sooner. In bytes as stored. */
const directFromBytes = 256 * 1024;

/**
 * Fetches a dump but for the rows of large tables, which loadDump() gives to COPY from where they are stored. Throws as
 * fetchDump().
 */
export async function fetchForLoad(
  context: DumpContext,
  backup: DumpBackup,
  directory: string,
): Promise<DumpInParts> {
  const dump = await fetchDump(context, backup, directory, (name) => name === tocName);
  if (dump.format !== 'directory') return { dump, directory, rows: [], rest: [] };
  const { rows, rest } = await directRowsOf(context, backup, dump, directory);
  const direct = new Set(rows.map((item) => item.file));
  await fetchDump(context, backup, directory, (name) => name !== tocName && !direct.has(name));
  return { dump, directory, rows, rest };
}

/** Files of rows that are worth a program of their own, the largest first: what is begun last decides when all are done. */
export function largeFilesOf(backup: DumpBackup): { file: string; dumpId: number }[] {
  return backup.manifest.files
    .filter((file) => /^dump\/\d+\.dat\.zst$/.test(file.name) && file.sizeBytes >= directFromBytes)
    .sort((one, other) => other.sizeBytes - one.sizeBytes)
    .map((file) => ({ file: file.name, dumpId: Number(/\d+/.exec(file.name)?.[0]) }));
}

async function directRowsOf(
  context: DumpContext,
  backup: DumpBackup,
  dump: Dump,
  directory: string,
): Promise<Pick<DumpInParts, 'rows' | 'rest'>> {
  const large = largeFilesOf(backup);
  if (large.length === 0) return { rows: [], rest: [] };
  const list = await runRestoreTool(context, ['-l', dump.path]);
  const { tables, tableData } = parseToc(list);
  // A table that comes with an extension is there already, with rows of its own.
  const ours = new Set([...tableData].filter(([oid]) => tables.has(oid)).map(([, dumpId]) => dumpId));
  const chosen = large.filter((item) => ours.has(item.dumpId));
  const entries = new Map(entriesIn(list).map((entry) => [entry.dumpId, entry]));
  // Without rows in them pg_restore writes of the files what stands before the rows.
  for (const item of chosen) await writeFile(join(dump.path, `${String(item.dumpId)}.dat`), '');
  const wanted = join(directory, 'direct.list');
  await writeFile(wanted, chosen.map((item) => `${entries.get(item.dumpId)?.line ?? ''}\n`).join(''));
  const script = await runRestoreTool(context, ['-a', '-v', '-L', wanted, '-f', '-', dump.path]);
  const copies = copiesIn(script);
  const rows = chosen.flatMap((item) => {
    const found = copies.get(item.dumpId);
    const rest = entries.get(item.dumpId)?.rest ?? '';
    // Rows of a partition may be written to be sorted in by its parent: TRUNCATE would take those of others.
    const isOwn = found !== undefined && rest.startsWith(`TABLE DATA ${plainName(found.table)} `);
    return isOwn ? [{ ...item, ...found }] : [];
  });
  const direct = new Set(rows.map((item) => item.dumpId));
  return { rows, rest: [...entries.values()].filter((entry) => !direct.has(entry.dumpId)) };
}

/** What stands before the rows in a script that `pg_restore -a -v` wrote, by dump id. */
function copiesIn(script: string): Map<number, Pick<DirectRows, 'settings' | 'table' | 'copy'>> {
  const [head = '', ...parts] = script.split(/^-- TOC entry (?=\d+ )/m);
  // Whatever else is there is meant for psql.
  const settings = (head.match(/^(SET|SELECT) [^\n]*;$/gm) ?? []).join('\n');
  const copies = new Map<number, Pick<DirectRows, 'settings' | 'table' | 'copy'>>();
  for (const part of parts) {
    const match = new RegExp(`^COPY (${written}\\.${written}) [^]*? FROM stdin(?=;$)`, 'm').exec(part);
    // In an encoding other than ours a name would not be what it was.
    if (match?.[1] === undefined || match[0].includes('\uFFFD')) continue;
    copies.set(Number.parseInt(part, 10), { settings, table: match[1], copy: match[0] });
  }
  return copies;
}

/** A qualified name as pg_restore lists it. */
function plainName(table: string): string {
  const [, schema = '', name = ''] = new RegExp(`^(${written})\\.(${written})$`).exec(table) ?? [];
  return `${unquoted(schema)} ${unquoted(name)}`;
}

/** psql has read enough at the end of the rows, and zstd may have a line feed left. Tells how psql ended. */
const copyAndDrain = '"$@"; code=$?; cat >/dev/null; echo "$code"';

/** How psql ends when the server refused a statement. */
const refusedByServer = 1;

/**
 * Gives the rows of a table to COPY, frozen, in a transaction that empties it first: a damaged copy in one store is
 * followed by the next store's. Returns what the server refused it with; undefined when all rows are in. Throws
 * copy_damaged, tool_failed, or what the stores throw. Locks: ACCESS EXCLUSIVE on the table, which nobody else knows.
 */
export async function copyRows(
  context: FetchContext & { zstd: string },
  backup: DumpBackup,
  rows: DirectRows,
  target: { psql: string; database: string; env: Record<string, string> },
): Promise<string | undefined> {
  return await withStored(context, backup, rows.file, async ({ path, pass }) => {
    const said: string[] = [];
    const psql = [
      ...[target.psql, '-X', '-q', '-w', '-1', '-v', 'ON_ERROR_STOP=1', '-v', 'SHOW_CONTEXT=never'],
      ...['-o', '/dev/null'],
      // Only what the server refuses is said; with the words of a notice it may be in any language.
      ...['-c', `${rows.settings}\nSET client_min_messages = error;\nTRUNCATE ONLY ${rows.table}`],
      ...['-c', `${rows.copy} WITH (FREEZE)`, connectionString(target.database)],
    ];
    const running = startPipeline(
      [
        { path: context.zstd, args: ['-q', '-d', '-c', ...(path === undefined ? [] : ['--', path])] },
        { path: '/bin/sh', args: ['-c', copyAndDrain, 'sh', ...psql] },
      ],
      {
        env: target.env,
        signal: context.signal,
        isFed: path === undefined,
        onLine: (line) => said.push(line) > 0,
      },
    );
    try {
      const [code] = await Promise.all([
        text(bodyOf(running)),
        pass(path === undefined ? running.input : undefined),
      ]);
      if (Number(code) === 0) return undefined;
      if (Number(code) !== refusedByServer) throw toolFailure('psql', Number(code), null, said.join('\n'));
      return (said[0] ?? 'an error of psql').replace(/^[^ :]+: +/, '');
    } catch (error) {
      running.stop();
      await running.finished.catch(() => undefined);
      throw error;
    }
  });
}
