import { spawn, type ChildProcess } from 'node:child_process';
import os from 'node:os';
import { PassThrough, pipeline as joinStreams, type Readable, type Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { interrupted } from '../errors.ts';
import { cannotStart, placeOf, reasonOf, toolFailure, type ChildOptions } from './child.ts';

export interface Program {
  path: string;
  args: string[];
}

export interface Stage extends Program {
  /** Programs joined by pipes, of which the first gets a copy of what this stage writes; see Pipeline.sides. */
  side?: Program[];
}

export interface PipelineOptions extends Pick<ChildOptions, 'account' | 'cwd'> {
  /** Secrets go here, never into arguments. */
  env?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Whether the caller writes to the first program; otherwise it reads nothing. */
  isFed?: boolean;
  /** Whether nobody wants what the last program writes. */
  isSilent?: boolean;
  /** Told of each line of stderr, of any program; a line for which it returns false is not kept for the message of a failure. */
  onLine?: ((line: string) => boolean) | undefined;
}

/** Programs joined by kernel pipes, as one. */
export interface Pipeline {
  /** What the first program reads, where it is fed; end it after the last byte. */
  input: Writable;
  /** What the last program writes; ends early when a program fails: only `finished` tells, see bodyOf(). */
  output: Readable;
  /** What the last program of each side writes, in the order of the stages. To be read, or the programs wait. */
  sides: Readable[];
  /**
   * Resolves when every program has ended with 0. Rejects with tool_failed naming the one that failed first, or the
   * reason of the interruption, once all of them have ended.
   */
  finished: Promise<void>;
  /** Ends all of them; also one that waits, and what they have started themselves. */
  stop: () => void;
}

/** So much of what the programs said on stderr is kept for the message. */
const mostStderr = 4000;
const mostLine = 1000;
/** Who failed and who lost its reader or its writer by that are told apart when both have answered. */
const echoMs = 100;
/** What does not end by SIGTERM in this time is killed. */
const patienceMs = 2000;
/** File descriptors of the shell: 3 takes exit codes, 4 tells that dbops is gone; a shell names only ten. */
const sideOutputs = [5, 6];
const ownOutput = 7;
const sidePipes = [8, 9];
const closed = [3, 4, 5, 6, 7, 8, 9].map((fd) => `${String(fd)}>&-`).join(' ');

/**
 * Starts programs, each reading what the one before it writes. A shell joins them, since Node would read ahead of a
 * program to which it hands on a stream; they are a process group of their own, which ends when dbops does, however that
 * ends. Exit codes come back over a pipe of their own.
 */
export function startPipeline(stages: Stage[], options: PipelineOptions = {}): Pipeline {
  const { signal } = options;
  const { script, programs, sideCount } = render(stages);
  const child = spawn(
    '/bin/sh',
    ['-c', script, 'sh', ...programs.flatMap((item) => [item.path, ...item.args])],
    {
      detached: true,
      ...placeOf(options),
      stdio: [
        options.isFed === true ? 'pipe' : 'ignore',
        options.isSilent === true ? 'ignore' : 'pipe',
        ...Array.from({ length: 3 + sideCount }, () => 'pipe' as const),
      ],
    },
  );
  // Writing to a program that has ended is no error of its own: its exit code tells.
  for (const stream of child.stdio) stream?.on('error', () => undefined);
  let kill: NodeJS.Timeout | undefined;
  let hasEnded = false;
  const stop = () => {
    // The number of the group may be that of others by now, and a timer would hold up the end of dbops.
    if (hasEnded) return;
    signalGroup(child, 'SIGTERM');
    kill ??= setTimeout(() => signalGroup(child, 'SIGKILL'), patienceMs);
  };
  const onAbort = () => stop();
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) stop();
  const output = held(child.stdout);
  const sides = sideOutputs.slice(0, sideCount).map((fd) => held(child.stdio[fd] as Readable));
  const finished = settle(child, programs, { ...options, stop }).finally(() => {
    signal?.removeEventListener('abort', onAbort);
    clearTimeout(kill);
    hasEnded = true;
    // What waits for the end of dbops is left over where the shell was ended.
    if (child.exitCode === null || child.exitCode > 0) signalGroup(child, 'SIGKILL');
  });
  finished.catch(() => {
    // What was read so far is of no use, and nobody may wait for more.
    for (const stream of [output, ...sides]) stream.destroy();
  });
  return { input: child.stdin as Writable, output, sides, finished, stop };
}

/** What a pipeline writes, as the body of an object: it ends only when every program has ended with 0, and throws otherwise. */
export async function* bodyOf(
  running: Pick<Pipeline, 'output' | 'finished' | 'stop'>,
): AsyncGenerator<Uint8Array> {
  let isWhole = false;
  try {
    for await (const chunk of running.output as AsyncIterable<Buffer>) yield chunk;
    await running.finished;
    isWhole = true;
  } catch (error) {
    running.stop();
    throw await reasonOf(error, running.finished);
  } finally {
    if (!isWhole) running.stop();
  }
}

/** Runs programs to their end and returns what the last one wrote. Throws as Pipeline.finished. */
export async function runPipeline(stages: Stage[], options: PipelineOptions = {}): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bodyOf(startPipeline(stages, options))) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The script: words are arguments of the shell ("${7}"), so that nothing of them is read as its language. */
function render(stages: Stage[]): { script: string; programs: Program[]; sideCount: number } {
  const programs: Program[] = [];
  let word = 0;
  const run = (program: Program): string => {
    const words = [program.path, ...program.args].map(() => `"\${${String((word += 1))}}"`);
    programs.push(program);
    return `${words.join(' ')} ${closed}; echo "${String(programs.length - 1)} $?" >&3;`;
  };
  const branches: Program[][] = [];
  const main = stages.flatMap((stage) => {
    const own = `{ ${run(stage)} }`;
    if (stage.side === undefined) return [own];
    branches.push(stage.side);
    const pipe = sidePipes[branches.length - 1];
    if (pipe === undefined) throw new Error('a pipeline has at most two sides');
    return [
      own,
      `{ ${run({ path: 'tee', args: [`/dev/fd/${String(pipe)}`] }).replace(` ${String(pipe)}>&-`, '')} }`,
    ];
  });
  // The last program writes to where the shell itself would have.
  let script = `{ ${main.join(' | ')}; } >&${String(ownOutput)}`;
  for (const [index, branch] of branches.entries()) {
    const chain = branch.map((program, at) =>
      // A program that has seen enough reads no more, and the others go on.
      at === 0 ? `{ ${run(program)} cat >/dev/null; }` : `{ ${run(program)} }`,
    );
    script = `{ ${script}; } ${String(sidePipes[index])}>&1 | { ${chain.join(' | ')}; } >&${String(sideOutputs[index])}`;
  }
  return {
    script: `${watch}\nexec ${String(ownOutput)}>&1 >/dev/null\n${script}\nkill -KILL $watch`,
    programs,
    sideCount: branches.length,
  };
}

/** Ends the group when dbops is gone, at first politely. */
const watch = `(
  trap '' TERM
  exec 0<&4 1>/dev/null 2>&1 ${closed}
  read -r none
  kill -TERM 0
  sleep 2
  kill -KILL 0
) &
watch=$!
exec 4>&-`;

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // All of them have ended.
  }
}

/**
 * Reads a program's output from the start. When a child ends, Node lets go of the pipes that nobody reads yet, with what is
 * in them.
 */
function held(stream: Readable | null): PassThrough {
  const output = new PassThrough();
  if (stream === null) output.end();
  else joinStreams(stream, output, () => undefined);
  return output;
}

interface Status {
  index: number;
  code: number;
}

async function settle(
  child: ChildProcess,
  programs: Program[],
  options: PipelineOptions & { stop: () => void },
): Promise<void> {
  const { signal, stop } = options;
  const statuses: Status[] = [];
  let culprit: Status | undefined;
  let judging: Promise<void> | undefined;
  const judge = async () => {
    await sleep(echoMs);
    culprit = firstFailure(statuses);
    stop();
  };
  const codes = eachLine(child.stdio[3] as Readable, (line) => {
    const [index, code] = line.split(' ').map(Number);
    const status = { index: index ?? 0, code: code ?? 0 };
    if (status.code === 0 || culprit !== undefined) return;
    statuses.push(status);
    judging ??= judge();
  });
  let ended = 0;
  child.stdio[3]?.on('data', (chunk: string) => (ended += chunk.split('\n').length - 1));
  let words = '';
  const said = eachLine(child.stderr as Readable, (line) => {
    if (options.onLine?.(line) !== false) words = `${words}${line}\n`.slice(-mostStderr);
  });
  const shell = await new Promise<{ code: number | null; killedBy: NodeJS.Signals | null }>(
    (resolve, reject) => {
      child.once('error', (cause) => reject(cannotStart('/bin/sh', cause)));
      child.once('exit', (code, killedBy) => resolve({ code, killedBy }));
    },
  );
  if (shell.killedBy !== null) stop();
  // Programs hold these until they end, the last of them included.
  await Promise.all([codes, said, judging]);
  if (signal?.aborted === true) throw interrupted(signal);
  if (culprit !== undefined) throw failure(programs, culprit, words.trim());
  if (shell.killedBy !== null || ended < programs.length) {
    throw toolFailure('sh', shell.code, shell.killedBy, words.trim());
  }
}

/** Who writes into a program that has ended dies of SIGPIPE, and who reads from one finds its input cut: neither was the first. */
function firstFailure(statuses: Status[]): Status | undefined {
  const brokenPipe = 128 + os.constants.signals.SIGPIPE;
  const own = statuses.filter((status) => status.code !== brokenPipe);
  return (own.length > 0 ? own : statuses).reduce((first, item) => (item.index < first.index ? item : first));
}

function failure(programs: Program[], { index, code }: Status, words: string): Error {
  const path = programs[index]?.path ?? 'sh';
  // The shell's own codes for a program that is missing or may not be run.
  if (code === 126 || code === 127) return cannotStart(path, new Error(words));
  const signal = Object.entries(os.constants.signals).find(([, number]) => number === code - 128)?.[0];
  return toolFailure(path, code, (signal ?? null) as NodeJS.Signals | null, words);
}

/** One line must not push out those before it: pg_dump shows a statement that names every table. */
function shortened(line: string): string {
  const half = mostLine / 2;
  return line.length <= mostLine ? line : `${line.slice(0, half)} ... ${line.slice(-half)}`;
}

/** Resolves when the stream has ended, however it did. */
async function eachLine(stream: Readable, take: (line: string) => void): Promise<void> {
  let rest = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = shortened(lines.pop() ?? '');
    for (const line of lines) take(shortened(line));
  });
  await new Promise<void>((resolve) => {
    stream.once('close', resolve);
    stream.once('end', resolve);
  });
  if (rest !== '') take(rest);
}
