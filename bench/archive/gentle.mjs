import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { seconds } from '../lib/report.mjs';
import { shell } from './by-hand.mjs';
import { archiveProgram, createEvents, forgetArchives, PARTITION, writeArchiveConfig } from './data.mjs';

const TARGET = 1.5;
const SECONDS = 25;
const RATE = 300;

/** What an application beside it feels: the 95th percentile of pgbench at a fixed rate, on other tables. */
export const gentle = {
  name: 'gentle',
  /** @param {import('../partition/index.mjs').Bench} bench */
  async run(bench) {
    const url = await bench.emptyDatabase('archive_gentle');
    await createEvents(url);
    const { status, stderr } = spawnSync(path.join(bench.binDir, 'pgbench'), ['-i', '-q', '-s', '20', url], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
    const { config } = writeArchiveConfig(bench.dir, 'gentle');
    const bare = await latency(bench, url, null);
    const copy = `'${bench.psql}' -X '${url}' -c "copy ${PARTITION} to stdout" | zstd -q -3 -c > '${path.join(bench.dir, 'gentle.zst')}'`;
    const cases = /** @type {const} */ ([
      ['archive run --gentle', archiveProgram(url, config, ['--gentle'])],
      ['archive run --jobs 1', archiveProgram(url, config, ['--jobs', '1'])],
      ['archive run --jobs 2', archiveProgram(url, config, ['--jobs', '2'])],
      ['bare psql | zstd', shell(copy)],
    ]);
    const figures = [];
    for (const [name, program] of cases) {
      const beside = await latency(bench, url, program);
      const again = await latency(bench, url, null);
      const before = (bare + again) / 2;
      const ratio = beside / before;
      const wallMs = await wallTime(url, program);
      figures.push({
        what: `p95 of pgbench -R ${RATE} on other tables during ${name}`,
        target: name.endsWith('--gentle') ? `at most ${TARGET} times that without` : '-',
        measured: `${beside.toFixed(1)} ms, without ${before.toFixed(1)} ms; ${name} alone takes ${seconds(wallMs)}`,
        ratio: ratio.toFixed(2),
        ...(name.endsWith('--gentle') ? { met: ratio <= TARGET } : {}),
      });
    }
    await bench.drop(url);
    return figures;
  },
};

/**
 * The 95th percentile in milliseconds, lag behind the schedule included, while a program runs over and over.
 * @param {import('../partition/index.mjs').Bench} bench
 * @param {string} url
 * @param {import('../lib/measure.mjs').Program | null} program
 */
async function latency(bench, url, program) {
  const stop = program === null ? async () => undefined : await keepRunning(url, program);
  const prefix = path.join(bench.dir, `pgbench-${Math.random().toString(36).slice(2)}`);
  const args = [
    '-n',
    '-c',
    '8',
    '-j',
    '2',
    '-R',
    String(RATE),
    '-T',
    String(SECONDS),
    '-l',
    '--log-prefix',
    prefix,
    url,
  ];
  const child = spawn(path.join(bench.binDir, 'pgbench'), args, { stdio: 'ignore' });
  const [code] = await once(child, 'close');
  await stop();
  if (code !== 0) throw new Error(`pgbench ended with ${code}`);
  /** @type {number[]} */
  const microseconds = [];
  for (const name of fs.readdirSync(bench.dir)) {
    if (!name.startsWith(path.basename(prefix))) continue;
    const file = path.join(bench.dir, name);
    // client transaction latency script second microsecond lag
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
      const fields = line.split(' ');
      if (fields.length > 6) microseconds.push(Number(fields[2]));
    }
    fs.rmSync(file);
  }
  microseconds.sort((a, b) => a - b);
  return (microseconds[Math.floor(microseconds.length * 0.95)] ?? Number.NaN) / 1000;
}

/**
 * Runs a program again and again until it is told to stop.
 * @param {string} url
 * @param {import('../lib/measure.mjs').Program} program
 */
async function keepRunning(url, program) {
  let isOver = false;
  /** @type {import('node:child_process').ChildProcess | undefined} */
  let child;
  const loop = (async () => {
    while (!isOver) {
      child = start(program);
      await once(child, 'close');
      if (program.args.includes('archive')) await forgetArchives(url).catch(() => undefined);
    }
  })();
  await sleep(1000);
  return async () => {
    isOver = true;
    child?.kill('SIGTERM');
    await loop;
  };
}

/**
 * @param {string} url
 * @param {import('../lib/measure.mjs').Program} program
 */
async function wallTime(url, program) {
  const started = performance.now();
  await once(start(program), 'close');
  const ms = performance.now() - started;
  if (program.args.includes('archive')) await forgetArchives(url);
  return ms;
}

/** @param {import('../lib/measure.mjs').Program} program */
function start({ command, args, env }) {
  return spawn(command, args, { stdio: 'ignore', env: { ...process.env, ...env } });
}
