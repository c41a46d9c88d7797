import { DbopsError } from '../../../errors.ts';
import { reasonOf } from '../../../process/child.ts';
import { startPipeline, type Program } from '../../../process/pipeline.ts';
import type { RestoreContext } from './context.ts';
import type { Dump } from './dump.ts';
import { RestoreErrors } from './errors.ts';
import type { RestorePrograms } from './programs.ts';

/** Where a dump is loaded, and with what. */
export interface LoadTarget {
  database: string;
  programs: Pick<RestorePrograms, 'pgRestore' | 'psql'>;
  /** maintenance_work_mem of the server. */
  maintenanceMemoryBytes: number;
}

const megabyte = 1024 * 1024;
/** For the sorts of all sessions together: more makes indexes of large tables faster, and the server is not ours alone. */
const sortMemoryBytes = 512 * megabyte;

/**
 * Loads a dump into a database. What the server refuses is counted and the rest goes on. Throws tool_failed when the
 * program itself ended before its work did: a lost connection, a dump that cannot be read.
 */
export async function loadDump(
  context: RestoreContext,
  dump: Dump,
  target: LoadTarget,
  more: string[] = [],
): Promise<RestoreErrors> {
  const { programs, database } = target;
  if (dump.format === 'plain') return await loadScript(context, dump.path, target);
  return await run(context, target, {
    path: programs.pgRestore,
    args: ['-w', '-j', String(context.jobs), ...more, '-d', connectionString(database), dump.path],
  });
}

/** Runs a script of pg_dump with psql, which goes on after errors, and names the statement of each (-b). */
export async function loadScript(
  context: RestoreContext,
  file: string,
  target: LoadTarget,
): Promise<RestoreErrors> {
  return await run(context, target, {
    path: target.programs.psql,
    args: ['-X', '-q', '-b', '-w', '-o', '/dev/null', '-f', file, connectionString(target.database)],
  });
}

/** The database as an argument: a name with = or :// in it would be taken for more than a name. */
export function connectionString(database: string): string {
  return `dbname='${database.replaceAll(/[\\']/g, String.raw`\$&`)}'`;
}

async function run(context: RestoreContext, target: LoadTarget, program: Program): Promise<RestoreErrors> {
  const errors = new RestoreErrors();
  const running = startPipeline([program], {
    // Errors are told from notices by the words of the program.
    env: {
      ...context.connectionTo(target.database),
      PGOPTIONS: sessionOptions(context, target),
      LC_ALL: 'C',
    },
    signal: context.signal,
    isSilent: true,
    onLine: (line) => errors.take(line),
  });
  try {
    await running.finished;
  } catch (cause) {
    const error = await reasonOf(cause, running.finished);
    // With errors that it went on after, pg_restore ends with 1 as well; it says so at its end.
    const isCounted = error instanceof DbopsError && error.code === 'tool_failed' && errors.isComplete;
    if (!isCounted) throw error;
  }
  return errors;
}

/**
 * Nobody else uses the database: nothing has to be durable before the end, which waits for all of it. A database that is
 * set to be read-only is restored all the same.
 */
export function sessionOptions(
  context: RestoreContext,
  target: Pick<LoadTarget, 'maintenanceMemoryBytes'>,
): string {
  const share = Math.min(256 * megabyte, Math.floor(sortMemoryBytes / context.jobs));
  const memory = Math.max(target.maintenanceMemoryBytes, share);
  return [
    'synchronous_commit=off',
    'default_transaction_read_only=off',
    `maintenance_work_mem=${String(Math.floor(memory / 1024))}kB`,
  ]
    .map((setting) => `-c ${setting}`)
    .join(' ');
}
