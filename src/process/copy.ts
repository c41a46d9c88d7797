import { PassThrough, pipeline, type Readable, type Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { DbopsError } from '../errors.ts';
import { startChild, type Child } from './child.ts';

/** The programs of the data plane. Rows go from one to the other through kernel pipes; Node sees compressed bytes only. */
export interface CopyPrograms {
  psql: string;
  zstd: string;
}

interface CopyOptions {
  programs: CopyPrograms;
  /** From libpqEnvironment(). */
  connection: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Gives way to everything else on this host. */
  isGentle?: boolean;
}

/** Rows on their way out. */
export interface CopyOut {
  /** Compressed bytes, or plain ones where no level was given; ends early when a program fails, and `finished` says so. */
  stored: Readable;
  /** The count in COPY's own tag. Throws tool_failed when psql or zstd did not end with 0. */
  finished: Promise<{ rows: number }>;
  stop: () => void;
}

/** psql ends when a statement fails, takes nothing of the user's own settings, and never asks for a password. */
const psqlArguments = ['-X', '-w', '-v', 'ON_ERROR_STOP=1', '-f', '-'];

/**
 * Runs `before`, then a COPY to stdout piped to zstd, then `commit`, in one psql session. psql starts zstd itself (\g |),
 * so that a kernel pipe joins them and the COPY tag is told; without a level the rows stay plain; zstd's own exit code comes back over a pipe of its own.
 */
export function copyOut(
  query: string,
  options: CopyOptions & { before: string[]; compressionLevel: number | null },
): CopyOut {
  const child = startPsql(options, {
    pipes: 2,
    env: { DBOPS_COMPRESS: options.programs.zstd, DBOPS_LEVEL: `-${String(options.compressionLevel)}` },
  });
  const [, , , written, status] = child.process.stdio as unknown as [
    Writable,
    Readable,
    Readable,
    Readable,
    Readable,
  ];
  const stored = held(written);
  const tags = text(child.process.stdout as Readable);
  const zstdStatus = text(status);
  // Both end early when the programs are stopped, and nobody asks for them then.
  for (const words of [tags, zstdStatus]) words.catch(() => undefined);
  // Rows that are only hashed here are not compressed for it.
  const program = options.compressionLevel === null ? 'cat' : '"$DBOPS_COMPRESS" -q "$DBOPS_LEVEL" -c';
  const script = [
    ...options.before.map((statement) => `${statement};`),
    `copy (${query}) to stdout \\g |{ ${program} >&3; echo $? >&4; }`,
    'commit;',
  ].join('\n');
  child.process.stdin?.end(`${script}\n`);
  const finished = (async () => {
    try {
      await child.finished;
      const [words, code] = await Promise.all([tags, zstdStatus]);
      if (code.trim() !== '0') {
        throw new DbopsError(
          'tool_failed',
          `${options.compressionLevel === null ? 'cat' : 'zstd'} ended with exit code ${code.trim() || 'unknown'}`,
        );
      }
      return { rows: rowsOf(words) };
    } catch (error) {
      child.stop();
      throw error;
    }
  })();
  finished.catch(() => undefined);
  return { stored, finished, stop: child.stop };
}

/**
 * Reads a child's output from the start. When a child ends, Node lets go of the pipes that nobody reads yet, with what is
 * in them: a small table is copied before its store has opened a file.
 */
function held(output: Readable): Readable {
  const stored = new PassThrough();
  pipeline(output, stored, () => undefined);
  return stored;
}

/** Compressed rows on their way in. */
export interface CopyIn {
  /** Takes the compressed bytes; end it after the last one. */
  stored: Writable;
  /** The count in COPY's own tag: the rows are loaded and not committed. Throws tool_failed. */
  loaded: Promise<{ rows: number }>;
  /** Commits what was loaded, and ends the session. */
  commit: () => Promise<void>;
  /** Ends the session without a commit. */
  stop: () => void;
}

/**
 * Runs `before` (which begins a transaction) and loads compressed rows into a table, all its columns but the generated
 * ones, in one psql session. Nothing is committed until commit() is called: the caller compares first. `table` is quoted
 * and may not contain a line break, since \copy ends at one.
 */
export function copyIn(table: string, options: CopyOptions & { before: string[] }): CopyIn {
  if (/[\r\n\\]/.test(table))
    throw new Error('a table with a line break in its name cannot be loaded by \\copy');
  const child = startPsql(options, { pipes: 1, env: { DBOPS_COMPRESS: options.programs.zstd } });
  const stored = child.process.stdio[3] as Writable;
  const stdout = child.process.stdout as Readable;
  const loaded = new Promise<{ rows: number }>((resolve, reject) => {
    let words = '';
    stdout.setEncoding('utf8').on('data', (chunk: string) => {
      words += chunk;
      if (/^COPY \d+$/m.test(words)) resolve({ rows: rowsOf(words) });
    });
    child.finished.then(
      () => reject(new DbopsError('tool_failed', 'psql ended before the rows were loaded')),
      reject,
    );
  });
  loaded.catch(() => undefined);
  const script = [
    ...options.before.map((statement) => `${statement};`),
    `\\copy ${table} from program '"$DBOPS_COMPRESS" -q -dc <&3'`,
  ].join('\n');
  child.process.stdin?.write(`${script}\n`);
  return {
    stored,
    loaded,
    commit: async () => {
      child.process.stdin?.end('commit;\n');
      await child.finished;
    },
    stop: child.stop,
  };
}

/** Starts `zstd -dc`: compressed bytes go into `stored`, or are read from `file`; plain ones come out of `plain`. */
export function decompress(
  zstd: string,
  options: { signal?: AbortSignal | undefined; isGentle?: boolean; file?: string | undefined } = {},
): { stored: Writable; plain: Readable; finished: Promise<void>; stop: () => void } {
  const { signal, isGentle, file } = options;
  const child = startChild(zstd, ['-q', '-dc', ...(file === undefined ? [] : ['--', file])], {
    signal,
    isNice: isGentle === true,
  });
  return {
    stored: child.process.stdin as Writable,
    plain: child.process.stdout as Readable,
    finished: child.finished,
    stop: child.stop,
  };
}

function startPsql(options: CopyOptions, own: { pipes: number; env: Record<string, string> }): Child {
  return startChild(options.programs.psql, psqlArguments, {
    pipes: own.pipes,
    env: { ...options.connection, ...own.env },
    signal: options.signal,
    isNice: options.isGentle === true,
  });
}

function rowsOf(tags: string): number {
  const match = /^COPY (\d+)$/m.exec(tags);
  if (match === null) throw new DbopsError('tool_failed', 'psql did not say how many rows it copied');
  return Number(match[1]);
}
