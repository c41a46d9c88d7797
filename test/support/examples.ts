// Commands that documents and help texts show, run as they stand there.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { exampleConfig, generateExampleRows, loadExampleSchema } from '../../scripts/lib/ai-factory.mjs';
import { afterFile } from './cleanup.ts';
import { runProgram, type CliResult } from './cli.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { entry } from './program.ts';

/** Texts name partitions by their month, so the day is fixed. */
const today = '2026-11-21';
const rows = 2000;

export interface ShownCommand {
  /** The command line without the prompt, such as `dbops partition plan`. */
  line: string;
  /** As the text says by `# exits 6` behind the command; otherwise 0. */
  exits: number;
  /** Line number in the text, from 1. */
  at: number;
}

/**
 * The commands in the blocks of a Markdown text that are marked `console`: lines that begin with `$ dbops`, with their
 * continuation lines. Throws where one could write outside of the test's directory: such commands belong in `sh` blocks.
 */
export function shownCommands(markdown: string): ShownCommand[] {
  const found = consoleBlocks(markdown, /^\s*\$ (dbops\b.*)$/).flat();
  for (const { line, at } of found) {
    if (/\bsudo\b|>\s*[/~"$]/.test(line))
      throw new Error(`line ${at} must not be run by a test, mark its block as sh: ${line}`);
  }
  return found;
}

/**
 * The blocks marked `console` below a heading, such as "A lost database", up to the next one of its level: each with all of
 * its commands, whatever their program.
 */
export function sectionBlocks(markdown: string, heading: string): ShownCommand[][] {
  const lines = markdown.split('\n');
  const begin = lines.indexOf(`## ${heading}`);
  if (begin === -1) throw new Error(`there is no heading "${heading}"`);
  const length = lines.slice(begin + 1).findIndex((line) => line.startsWith('## '));
  const end = length === -1 ? lines.length : begin + 1 + length;
  // Empty lines keep the numbers.
  return consoleBlocks(
    lines.map((line, at) => (at > begin && at < end ? line : '')).join('\n'),
    /^\s*\$ (.*)$/,
  );
}

function consoleBlocks(markdown: string, prompt: RegExp): ShownCommand[][] {
  const blocks: ShownCommand[][] = [];
  let inConsole = false;
  let unfinished: ShownCommand | undefined;
  for (const [index, text] of markdown.split('\n').entries()) {
    const fence = /^\s*```(\S*)/.exec(text);
    if (fence) {
      inConsole = !inConsole && fence[1] === 'console';
      unfinished = undefined;
      if (inConsole) blocks.push([]);
      continue;
    }
    const begun = inConsole ? prompt.exec(text)?.[1] : undefined;
    if (unfinished === undefined && begun === undefined) continue;
    const command: ShownCommand = unfinished ?? { line: '', exits: 0, at: index + 1 };
    const part = begun ?? text.trim();
    command.line = `${command.line} ${part.replace(/\\$/, '').trim()}`.trim();
    unfinished = part.endsWith('\\') ? command : undefined;
    if (unfinished === undefined) blocks.at(-1)?.push(finish(command));
  }
  return blocks;
}

function finish(command: ShownCommand): ShownCommand {
  const [line = '', comment = ''] = command.line.split(/\s+#\s+/, 2);
  const exits = Number(/^exits (\d+)\b/.exec(comment)?.[1] ?? 0);
  return { ...command, line, exits };
}

/** Stand for the ids of an archive and of a dump in texts: those of a test are others each time. */
const shownIds = {
  '20260605T031500Z-1a2b3c4d': 'archive',
  '20261121T013000Z-6c1d9e20': 'logical',
};

/** The same line with the id of the newest one that the shell's database knows. */
export async function withRealIds(shell: ExampleShell, line: string): Promise<string> {
  let filled = line;
  for (const [shown, kind] of Object.entries(shownIds)) {
    if (!line.includes(shown)) continue;
    const { stdout } = await shell.run(`dbops backup list --kind ${kind} --json`);
    const { data } = JSON.parse(stdout) as { data: { backups: { id: string }[] } };
    filled = filled.replaceAll(shown, data.backups[0]?.id ?? `no ${kind}`);
  }
  return filled;
}

/** A bash, which the completions of one need, on the AI Factory example, with its configuration in the working directory. */
export interface ExampleShell {
  database: TestDatabase;
  dir: string;
  run: (line: string) => Promise<CliResult>;
}

let example: Promise<TestDatabase> | undefined;

/** What the databases of a file are clones of; it is dropped after its tests. */
async function loadExample(): Promise<TestDatabase> {
  const database = await createDatabase('example');
  afterFile(() => database.drop());
  await loadExampleSchema(database.url, { now: today });
  generateExampleRows(database.url, rows);
  return database;
}

/** Clones the example into a database of its own. Both are removed after the tests of the file. */
export async function openExampleShell(): Promise<ExampleShell> {
  const original = await (example ??= loadExample());
  const database = await createDatabase('examples', original.name);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-examples-'));
  afterFile(async () => {
    fs.rmSync(dir, { recursive: true, force: true });
    await database.drop();
  });
  const work = path.join(dir, 'work');
  const bin = path.join(dir, 'bin');
  fs.mkdirSync(work);
  fs.mkdirSync(bin);
  fs.mkdirSync(path.join(dir, 'store'));
  // The example leaves the place of the store to its readers.
  const store = `stores:\n  near: { url: "file://${path.join(dir, 'store')}" }\narchive: { workDirectory: "${dir}" }\n\n`;
  fs.writeFileSync(path.join(work, 'dbops.yaml'), store + fs.readFileSync(exampleConfig, 'utf8'));
  fs.symlinkSync(entry, path.join(bin, 'dbops'));
  const env = {
    DATABASE_URL: database.url,
    DBOPS_TEST_NOW: `${today}T12:00:00Z`,
    PATH: `${bin}${path.delimiter}${process.env['PATH'] ?? ''}`,
  };
  return { database, dir: work, run: (line) => runProgram(['bash', '-c', line], { cwd: work, env }) };
}
