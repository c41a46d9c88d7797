// Runs bin/dbops.js as a user does: a child process, with nothing of the developer's own environment.
import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import { waitUntil } from './database.ts';
import { entry } from './program.ts';

const TIMEOUT_MS = 60_000;

export interface CliOptions {
  /** Added to an environment that holds only PATH, HOME, TMPDIR and TZ. */
  env?: Record<string, string>;
  /** An empty directory when it is left out, so that no dbops.yaml is found. */
  cwd?: string;
  /** The whole of standard input; without it standard input is empty. */
  input?: string;
  /** The process is killed and the promise rejected after this time. */
  timeoutMs?: number;
}

export interface SignalAfter {
  signal?: NodeJS.Signals;
  /** Sent after this time, */
  ms?: number;
  /** or as soon as the output on stdout or stderr matches. */
  output?: RegExp;
}

export interface CliResult {
  /** Null when a signal ended the process. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunningCli {
  pid: number;
  stdout: () => string;
  stderr: () => string;
  kill: (signal?: NodeJS.Signals) => void;
  /** Types into standard input, which spawnDbops leaves open. */
  write: (text: string) => void;
  closeInput: () => void;
  /** Waits until stdout or stderr matches. */
  waitFor: (pattern: RegExp, timeoutMs?: number) => Promise<void>;
  /** Resolves when the process has ended and all its output was read. */
  done: Promise<CliResult>;
}

export interface TerminalOptions extends Omit<CliOptions, 'input'> {
  /** Each answer is typed when the output since the previous one matches. `\r` is Enter, `\x03` Ctrl-C. */
  answers?: { when: RegExp; type: string }[];
  columns?: number;
}

export interface TerminalResult {
  code: number | null;
  /** What the terminal showed: stdout and stderr together, with `\n` line ends. */
  output: string;
}

/** Runs dbops to its end. */
export async function runDbops(
  args: string[],
  options: CliOptions & { signalAfter?: SignalAfter } = {},
): Promise<CliResult> {
  return runProgram([process.execPath, entry, ...args], options);
}

/** Starts dbops and leaves it running, for tests that act meanwhile. */
export function spawnDbops(args: string[], options: Omit<CliOptions, 'input'> = {}): RunningCli {
  return spawnProgram([process.execPath, entry, ...args], options);
}

/** Runs dbops on a pseudo terminal, where it may ask questions. Tests skip where hasTerminal() is false. */
export async function dbopsInTerminal(
  args: string[],
  options: TerminalOptions = {},
): Promise<TerminalResult> {
  return programInTerminal([process.execPath, entry, ...args], options);
}

/** As runDbops, for any program: what a test needs around dbops, such as psql. */
export async function runProgram(
  command: string[],
  options: CliOptions & { signalAfter?: SignalAfter } = {},
): Promise<CliResult> {
  const { input = '', signalAfter } = options;
  const running = spawnProgram(command, options);
  running.write(input);
  running.closeInput();
  if (signalAfter) void sendSignal(running, signalAfter);
  return running.done;
}

/** As spawnDbops, for any program. */
export function spawnProgram(command: string[], options: Omit<CliOptions, 'input'> = {}): RunningCli {
  return follow(start(command, options), options.timeoutMs);
}

/** Whether `script` of util-linux works here: its namesakes take other arguments, and containers may lack ptys. */
export function hasTerminal(): boolean {
  return spawnSync('script', ['-qec', 'true', '/dev/null'], { stdio: 'ignore' }).status === 0;
}

/** As dbopsInTerminal, for any program. */
export async function programInTerminal(
  command: string[],
  options: TerminalOptions = {},
): Promise<TerminalResult> {
  const { answers = [], columns = 110, env, timeoutMs } = options;
  const line = `stty cols ${columns} rows 40; exec ${command.map(quote).join(' ')}`;
  // script runs the line with $SHELL.
  const terminalEnv = { SHELL: '/bin/sh', TERM: 'xterm', ...env };
  const child = start(['script', '-qec', line, '/dev/null'], { ...options, env: terminalEnv });
  const running = follow(child, timeoutMs);
  void typeAnswers(running, answers);
  const { code, stdout } = await running.done;
  return { code, output: stdout.replaceAll('\r\n', '\n') };
}

async function typeAnswers(
  running: RunningCli,
  answers: NonNullable<TerminalOptions['answers']>,
): Promise<void> {
  let seen = 0;
  for (const { when, type } of answers) {
    try {
      await waitUntil(() => when.test(running.stdout().slice(seen)), {
        timeoutMs: TIMEOUT_MS,
        what: String(when),
      });
    } catch {
      // The process is still waiting, or gone: its own result or timeout says more than this could.
      return;
    }
    seen = running.stdout().length;
    running.write(type);
  }
}

async function sendSignal(
  running: RunningCli,
  { signal = 'SIGINT', ms, output }: SignalAfter,
): Promise<void> {
  if (output) {
    // When it never comes, the result of the run shows that.
    await running.waitFor(output).catch(() => undefined);
    running.kill(signal);
  } else {
    setTimeout(() => running.kill(signal), ms ?? 0);
  }
}

function start([program, ...args]: string[], { env, cwd }: Omit<CliOptions, 'input'>): ChildProcess {
  return spawn(program!, args, {
    cwd: cwd ?? emptyHome(),
    env: { ...bareEnvironment(), ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

function follow(child: ChildProcess, timeoutMs = TIMEOUT_MS): RunningCli {
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // A process that ends without reading its input is no failure of the test.
  child.stdin!.on('error', () => undefined);
  const kill = (signal: NodeJS.Signals = 'SIGTERM'): void => void child.kill(signal);

  const ended = async (): Promise<CliResult> => {
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      kill('SIGKILL');
    }, timeoutMs);
    const [code, signal] = (await once(child, 'close').finally(() => clearTimeout(timer))) as [
      number | null,
      NodeJS.Signals | null,
    ];
    if (timedOut) {
      throw new Error(`dbops did not end within ${timeoutMs} ms\nstdout: ${stdout}\nstderr: ${stderr}`);
    }
    return { code, signal, stdout, stderr };
  };
  const done = ended();
  // Whoever awaits it sees the error; a test that failed before it did must not fail twice.
  done.catch(() => undefined);
  const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null;

  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    stderr: () => stderr,
    kill,
    write: (text) => void child.stdin!.write(text),
    closeInput: () => void child.stdin!.end(),
    waitFor: async (pattern, waitMs = TIMEOUT_MS) => {
      const matches = (): boolean => pattern.test(stdout) || pattern.test(stderr);
      await waitUntil(() => matches() || isOver(), { timeoutMs: waitMs, what: String(pattern) });
      if (isOver()) await done;
      if (!matches())
        throw new Error(`dbops ended without ${String(pattern)}\nstdout: ${stdout}\nstderr: ${stderr}`);
    },
    done,
  };
}

/** PG*, DATABASE_URL, DBOPS_*, CI, NODE_OPTIONS, colours: all of them change what dbops does. */
function bareEnvironment(): Record<string, string> {
  const kept = Object.fromEntries(['PATH', 'TMPDIR'].map((name) => [name, process.env[name]]));
  const set = Object.entries(kept).filter((pair): pair is [string, string] => pair[1] !== undefined);
  // DBOPS_TEST lets DBOPS_TEST_NOW drive changes as well.
  return { ...Object.fromEntries(set), HOME: emptyHome(), TZ: 'UTC', DBOPS_TEST: '1' };
}

let home: string | undefined;

/** A home without .pgpass, .pg_service.conf or a configuration; one for each test file. */
function emptyHome(): string {
  return (home ??= fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-home-')));
}

// Not at the exit of the process: vitest ends its workers by a signal.
afterAll(() => {
  if (home) fs.rmSync(home, { recursive: true, force: true });
  home = undefined;
});

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
