// Times whole processes. What is compared runs in turns, so that a slow minute of the machine meets all alike.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A program to run to its end.
 * @typedef {object} Program
 * @property {string} command
 * @property {string[]} args
 * @property {Record<string, string>} [env] added to ours
 * @property {string} [cwd]
 */

/**
 * Runs a program once and returns its wall time in milliseconds. Throws when it fails.
 * @param {Program} program
 */
export function timeOnce(program) {
  const { command, args, cwd } = program;
  const started = performance.now();
  const { status, error, stderr } = spawnSync(command, args, {
    cwd,
    env: environment(program.env),
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  });
  const milliseconds = performance.now() - started;
  if (error) throw error;
  if (status !== 0) throw new Error(`${[command, ...args].join(' ')} ended with ${status}: ${stderr.trim()}`);
  return milliseconds;
}

/**
 * Runs all programs in turns, once each to warm up and then `rounds` times, and returns the wall times by program.
 * @template {string} Name
 * @param {Record<Name, Program>} programs
 * @param {number} rounds
 * @returns {Record<Name, number[]>}
 */
export function timeInTurns(programs, rounds) {
  const names = /** @type {Name[]} */ (Object.keys(programs));
  /** @type {Record<string, number[]>} */
  const times = Object.fromEntries(names.map((name) => [name, []]));
  for (const name of names) timeOnce(programs[name]);
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names) times[name]?.push(timeOnce(programs[name]));
  }
  return /** @type {Record<Name, number[]>} */ (times);
}

/**
 * Runs a program to its end with its peak resident memory sampled. Does not throw when it fails.
 * @param {Program} program
 * @returns {Promise<{ code: number | null, milliseconds: number, peakRssBytes: number, stdout: string, stderr: string }>}
 */
export async function runWatched(program) {
  const started = performance.now();
  const child = spawn(program.command, program.args, {
    cwd: program.cwd,
    env: environment(program.env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  let peakRssBytes = 0;
  const closed = once(child, 'close');
  const over = closed.then(() => true);
  do {
    peakRssBytes = Math.max(peakRssBytes, peakRssOf(child.pid));
  } while (!(await Promise.race([over, sleep(20, false)])));
  const [code] = await closed;
  return { code, milliseconds: performance.now() - started, peakRssBytes, stdout, stderr };
}

/**
 * The kernel keeps the peak itself, so that sampling misses only what the last few milliseconds added.
 * @param {number | undefined} pid
 */
function peakRssOf(pid) {
  try {
    const kilobytes = /VmHWM:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/**
 * Nothing of the operator's own settings may change what is measured.
 * @param {Record<string, string>} [added]
 */
function environment(added = {}) {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(PG|DBOPS_|DATABASE_URL|NODE_|npm_)/.test(name),
  );
  return { ...Object.fromEntries(own), ...added };
}

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = Number.NaN, high = Number.NaN] = [
    sorted[sorted.length % 2 === 0 ? middle - 1 : middle],
    sorted[middle],
  ];
  return (low + high) / 2;
}
