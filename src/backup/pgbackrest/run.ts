import { text } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { DbopsError, type ErrorCode } from '../../errors.ts';
import { startChild } from '../../process/child.ts';
import type { PgbackrestSite } from './site.ts';

/** What a run of pgBackRest said. */
export interface PgbackrestWords {
  stdout: string;
  /** Its warnings, a line each. */
  warnings: string[];
}

/** What its exit codes that a person can do something about mean here; it documents each as an error type of its own. */
const known: Record<number, { code: ErrorCode; hint: (stanza: string) => string }> = {
  ...Object.fromEntries(
    [27, 31, 32, 33, 34, 37].map((number) => [
      number,
      {
        code: 'config_invalid' as const,
        hint: () => 'See its configuration file, which "backup.pgbackrest.config" can name.',
      },
    ]),
  ),
  40: { code: 'refused', hint: () => 'Restore into an empty directory.' },
  50: {
    code: 'lock_busy',
    hint: (stanza) =>
      `Another pgBackRest works on this stanza: "pgbackrest --stanza=${stanza} info" says what. Run it again later.`,
  },
  55: {
    code: 'refused',
    hint: (stanza) =>
      `Has the stanza been made? "pgbackrest --stanza=${stanza} stanza-create", then "pgbackrest --stanza=${stanza} check".`,
  },
  56: {
    code: 'refused',
    hint: () => 'pgBackRest connects by itself: see pg1-port, pg1-socket-path and pg1-user in its file.',
  },
  62: {
    code: 'refused',
    hint: (stanza) =>
      `Somebody stopped it: "pgbackrest --stanza=${stanza} start" lets it work again, once the reason is gone.`,
  },
  82: {
    code: 'tool_failed',
    hint: (stanza) =>
      `WAL did not arrive in its archive: see the server's log for archive_command, and "pgbackrest --stanza=${stanza} check".`,
  },
  87: {
    code: 'refused',
    hint: (stanza) =>
      `Set archive_mode = on and archive_command = 'pgbackrest --stanza=${stanza} archive-push %p' on the server, and restart it.`,
  },
};

/**
 * Runs one command of pgBackRest to its end. Secrets reach it by its own file or PGBACKREST_* variables, never by
 * arguments. Throws tool_failed, or what its error type means: lock_busy, refused, config_invalid.
 */
export async function runPgbackrest(
  site: Pick<PgbackrestSite, 'path' | 'stanza' | 'config' | 'account'>,
  command: string,
  options: string[],
  signal: AbortSignal,
): Promise<PgbackrestWords> {
  const child = startChild(site.path, pgbackrestArguments(site, command, options), {
    account: site.account,
    // Ours may be one that the other user cannot enter.
    cwd: '/',
    signal,
  });
  child.process.stdin?.end();
  const [stdout, stderr] = [child.process.stdout, child.process.stderr].map((stream) =>
    text(stream as Readable).catch(() => ''),
  );
  try {
    await child.finished;
  } catch (error) {
    throw explain(error, site.stanza, command, (await stdout) ?? '');
  }
  const warnings = ((await stderr) ?? '').split('\n').flatMap((line) => /^WARN: (.*)$/.exec(line)?.[1] ?? []);
  return { stdout: (await stdout) ?? '', warnings };
}

/** The whole command line without the program, as a dry run shows it. */
export function pgbackrestArguments(
  site: Pick<PgbackrestSite, 'stanza' | 'config'>,
  command: string,
  options: string[],
): string[] {
  if (command === 'version') return ['version'];
  return [
    command,
    ...(site.config === undefined ? [] : [`--config=${site.config}`]),
    `--stanza=${site.stanza}`,
    '--log-level-console=off',
    '--log-level-stderr=warn',
    '--no-log-timestamp',
    ...options,
  ];
}

function explain(error: unknown, stanza: string, command: string, stdout: string): unknown {
  if (!(error instanceof DbopsError) || error.code !== 'tool_failed') return error;
  // Until it has read its configuration a newer one says on stdout what is wrong.
  const detail = error.detail ?? /ERROR: \[\d+\]: .*/s.exec(stdout)?.[0].trim();
  const number = Number(/ERROR: \[(\d+)\]/.exec(detail ?? '')?.[1]);
  const meaning = known[number];
  if (meaning === undefined) {
    return detail === error.detail
      ? error
      : new DbopsError(error.code, error.message, { detail, cause: error });
  }
  return new DbopsError(
    meaning.code,
    `"pgbackrest ${command}" of stanza "${stanza}" ended with its error ${String(number)}`,
    { detail, hint: meaning.hint(stanza), cause: error },
  );
}
