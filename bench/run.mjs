// npm run bench -- <partition|archive|rows|backup|health|maintenance> [--only name,name] [--rounds n] [--size small] [--write]
// Measures, side by side and on a private server with durable settings, and prints one table. Nothing here is a test:
// a target that is missed is printed and is no failure.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { generateExampleRows, loadExampleSchema } from '../scripts/lib/ai-factory.mjs';
import { findSystemBinaries, startServer } from '../scripts/lib/postgres-server.mjs';
import { bundleIsCurrent } from '../scripts/lib/prepare.mjs';
import { run } from '../scripts/lib/run.mjs';
import { createDatabase, dropDatabase } from './lib/database.mjs';
import { availablePartman } from './lib/partman.mjs';
import { appendResults, describeMachine, renderFigures } from './lib/report.mjs';
import { measurements as archive } from './archive/index.mjs';
import { measurements as backup, release } from './backup/index.mjs';
import { measurements as health } from './health/index.mjs';
import { measurements as maintenance } from './maintenance/index.mjs';
import { measurements as partition } from './partition/index.mjs';
import { measurements as rows } from './rows/index.mjs';

/** @type {Record<string, { measurements: import('./partition/index.mjs').Measurement[], rounds: number, release?: () => Promise<void> }>} */
const suites = {
  partition: { measurements: partition, rounds: 15 },
  archive: { measurements: archive, rounds: 3 },
  rows: { measurements: rows, rounds: 5 },
  backup: { measurements: backup, rounds: 3, release },
  health: { measurements: health, rounds: 5 },
  maintenance: { measurements: maintenance, rounds: 3 },
};

const USAGE = `usage: npm run bench -- <${Object.keys(suites).join('|')}> [--only <name,...>] [--rounds <n>] [--size small] [--write]

  --only    some figures only:
${Object.entries(suites)
  .map(
    ([suite, { measurements }]) => `            ${suite}: ${measurements.map(({ name }) => name).join(', ')}`,
  )
  .join('\n')}
  --rounds  runs of each of the programs that are compared
  --size    small: backups of a fiftieth of the data, to try the programs; its figures mean nothing
  --write   append the table to bench/RESULTS.md`;

const SMALL = 20_000;

process.exitCode = await main();

async function main() {
  const options = readOptions();
  if (!options) {
    console.error(USAGE);
    return 2;
  }
  if (!bundleIsCurrent() && (await run(process.execPath, ['scripts/build.mjs'])) !== 0) return 1;
  const binaries = findSystemBinaries();
  if (!binaries?.clients) {
    console.error(
      'the benchmark needs a PostgreSQL server with psql (apt-get install postgresql postgresql-client)',
    );
    return 1;
  }
  const psql = realPsql(binaries.dir);
  const server = await startServer({ binDir: binaries.dir });
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-bench-'));
  try {
    const partmanVersion = await availablePartman(server.url);
    const bench = makeBench(server.url, {
      dir,
      psql,
      binDir: binaries.dir,
      partmanVersion,
      rounds: options.rounds,
      size: options.size,
    });
    const figures = [];
    for (const measurement of options.chosen) {
      console.error(`measuring ${measurement.name} ...`);
      figures.push(...(await figuresOf(measurement, bench)));
    }
    const table = renderFigures(figures);
    const facts = describeMachine({
      serverVersion: server.version,
      psqlVersion: spawnSync(psql, ['--version'], { encoding: 'utf8' }).stdout.trim(),
      partmanVersion,
      rounds: options.rounds,
    });
    console.log(`${table}\n\n${facts.join('\n')}`);
    if (options.write) appendResults(options.suite, table, facts);
    return 0;
  } finally {
    await suites[options.suite]?.release?.();
    fs.rmSync(dir, { recursive: true, force: true });
    await server.stop({ immediate: true });
  }
}

/**
 * What cannot be measured is a row of the table as well: the others took minutes.
 * @param {import('./partition/index.mjs').Measurement} measurement
 * @param {import('./partition/index.mjs').Bench} bench
 * @returns {Promise<import('./lib/report.mjs').Figure[]>}
 */
async function figuresOf({ name, run: measure }, bench) {
  try {
    return await measure(bench);
  } catch (error) {
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return [{ what: name, target: '-', measured: `failed: ${reason}`, met: false }];
  }
}

function readOptions() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        only: { type: 'string' },
        rounds: { type: 'string' },
        size: { type: 'string' },
        write: { type: 'boolean' },
      },
    });
    const name = positionals.join(' ');
    const suite = suites[name];
    if (!suite) return null;
    const names = values.only?.split(',') ?? suite.measurements.map((item) => item.name);
    const chosen = suite.measurements.filter((item) => names.includes(item.name));
    const rounds = Number(values.rounds ?? suite.rounds);
    const size = /** @type {import('./partition/index.mjs').Bench['size']} */ (values.size ?? 'full');
    const known =
      chosen.length === names.length &&
      Number.isInteger(rounds) &&
      rounds > 0 &&
      (size === 'full' || size === 'small') &&
      // Nobody may take the figures of a trial for the others.
      !(size === 'small' && values.write === true);
    return known ? { suite: name, chosen, rounds, size, write: values.write === true } : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} serverUrl
 * @param {Pick<import('./partition/index.mjs').Bench, 'dir' | 'psql' | 'binDir' | 'partmanVersion' | 'rounds' | 'size'>} given
 * @returns {import('./partition/index.mjs').Bench}
 */
function makeBench(serverUrl, given) {
  const nameOf = (/** @type {string} */ url) => new URL(url).pathname.slice(1);
  return {
    ...given,
    example: async (name, { rows = SMALL } = {}) => {
      const url = await createDatabase(serverUrl, name);
      await loadExampleSchema(url);
      if (rows > 0) generateExampleRows(url, rows);
      return url;
    },
    emptyDatabase: (name) => createDatabase(serverUrl, name),
    clone: (url, name) => createDatabase(serverUrl, name, nameOf(url)),
    drop: (url) => dropDatabase(serverUrl, nameOf(url)),
  };
}

/**
 * On Debian psql on PATH is a Perl program that looks for the real one, and takes longer than that. Comparing with
 * it would flatter us.
 * @param {string} binDir
 */
function realPsql(binDir) {
  const beside = path.join(binDir, 'psql');
  return fs.existsSync(beside) ? beside : 'psql';
}
