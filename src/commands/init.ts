import { access, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { DbopsError } from '../errors.ts';
import { propose, type Proposal } from '../partition/init/propose.ts';
import { renderProposal } from '../partition/init/render.ts';
import { defineCommand, type Result } from './command.ts';

interface Options {
  output: string;
  stdout?: boolean;
}

const gigabyte = 1024 ** 3;

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops init', about: 'write dbops.yaml for the database of DATABASE_URL' },
    { command: 'dbops init --url postgresql://me@db/factory', about: 'for another one' },
    { command: 'dbops init --stdout', about: 'print it, write nothing' },
  ],
  notes:
    'Reads the partition sets with their interval, time zone and naming from their bounds, the settings of\n' +
    'pg_partman, and large tables worth converting. Retention is left open. A file that exists is never\n' +
    'overwritten (exit 2). The database is not changed.',
  declare(cmd) {
    cmd.option('-o, --output <file>', 'where to write; - for stdout', 'dbops.yaml');
    cmd.option('--stdout', 'print it instead');
  },
  async run({ options, settings, cwd, connect, now }): Promise<Result> {
    const toStdout = options.stdout === true || options.output === '-';
    const path = resolve(cwd, options.output);
    if (!toStdout) await refuseExisting(path, options.output);
    const db = await connect();
    const proposal = await propose(db, {
      now: now(db),
      stateSchema: settings.stateSchema,
      largeBytes: gigabyte,
    });
    const text = renderProposal(proposal);
    const { entries, leftOut, candidates, warnings } = proposal;
    if (toStdout) return { data: { entries, leftOut, candidates, yaml: text }, text, warnings };
    await writeNew(path, options.output, text);
    return {
      data: { file: path, entries, leftOut, candidates },
      text: summary(proposal, options.output),
      warnings,
    };
  },
});

async function refuseExisting(path: string, shown: string): Promise<void> {
  const exists = await access(path).then(
    () => true,
    () => false,
  );
  if (exists) throw fileExists(shown);
}

function fileExists(shown: string): DbopsError {
  return new DbopsError('config_exists', `the file ${shown} exists and is never overwritten`, {
    hint: 'Write to another file with --output, or print the proposal with --stdout.',
  });
}

/** "wx": a file that appeared meanwhile is not overwritten either. */
async function writeNew(path: string, shown: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx' });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw fileExists(shown);
    throw new DbopsError('output_failed', `cannot write the file ${shown}`, {
      detail: message,
      hint: 'Check that the directory exists and that this user may write there, or use --stdout.',
      cause,
    });
  }
}

function summary({ entries, leftOut, candidates }: Proposal, file: string): string {
  const lines = [`wrote ${file}: ${count(entries.length, 'partitioned table')}`];
  if (leftOut.length > 0) lines.push(`left out, with the reason in the file: ${String(leftOut.length)}`);
  if (candidates.length > 0)
    lines.push(`worth converting, as comments in the file: ${String(candidates.length)}`);
  const flag = file === 'dbops.yaml' ? '' : ` --config ${file}`;
  lines.push(`next: dbops config check${flag}; set the retention; dbops partition ensure --dry-run${flag}`);
  return lines.join('\n');
}

function count(number: number, noun: string): string {
  return `${String(number)} ${noun}${number === 1 ? '' : 's'}`;
}
