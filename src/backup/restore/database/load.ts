import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import { reasonOf } from '../../../process/child.ts';
import { inParallel } from '../../../process/parallel.ts';
import { startPipeline, type Program } from '../../../process/pipeline.ts';
import { connectionString, sessionOptions } from './connection.ts';
import type { RestoreContext } from './context.ts';
import type { Dump, DumpBackup, DumpContext } from './dump.ts';
import { RestoreErrors } from './errors.ts';
import type { RestorePrograms } from './programs.ts';
import { copyRows, type DumpInParts } from './rows.ts';

/** Where a dump is loaded, and with what. */
export interface LoadTarget {
  database: string;
  programs: Pick<RestorePrograms, 'pgRestore' | 'psql'>;
  /** maintenance_work_mem of the server. */
  maintenanceMemoryBytes: number;
}

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

/**
 * As loadDump(), with the rows of large tables straight from the store. They go between what pg_restore does before the
 * data and what it does after.
 */
export async function loadInParts(
  context: RestoreContext,
  fetching: DumpContext,
  from: DumpInParts & { backup: DumpBackup },
  target: LoadTarget,
  more: string[],
): Promise<RestoreErrors> {
  const { backup, dump, rows, directory } = from;
  if (rows.length === 0) return await loadDump(context, dump, target, more);
  const errors = await loadDump(context, dump, target, [...more, '--section=pre-data']);
  const env = environment(context, target);
  await inParallel(context.jobs, rows, context.signal, async (item, signal) => {
    const { psql } = target.programs;
    const refused = await copyRows({ ...fetching, signal }, backup, item, { ...target, psql, env });
    if (refused !== undefined) errors.add(refused, item.copy);
  });
  const list = join(directory, 'rest.list');
  await writeFile(list, from.rest.map((entry) => `${entry.line}\n`).join(''));
  const options = [...more, '--section=data', '--section=post-data', '-L', list];
  errors.addAll(await loadDump(context, dump, target, options));
  return errors;
}

/** Errors are told from notices by the words of the programs. */
function environment(context: RestoreContext, target: LoadTarget): Record<string, string> {
  return {
    ...context.connectionTo(target.database),
    PGOPTIONS: sessionOptions(context, target),
    LC_ALL: 'C',
  };
}

async function run(context: RestoreContext, target: LoadTarget, program: Program): Promise<RestoreErrors> {
  const errors = new RestoreErrors();
  const running = startPipeline([program], {
    env: environment(context, target),
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
