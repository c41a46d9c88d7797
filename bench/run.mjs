// npm run bench -- partition [--only name,name] [--rounds n] [--write]
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
import { measurements } from './partition/index.mjs';

const USAGE = `usage: npm run bench -- partition [--only <name,...>] [--rounds <n>] [--write]

  --only    some figures only: ${measurements.map(({ name }) => name).join(', ')}
  --rounds  runs of each of the programs that are compared (default 15)
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
    const bench = makeBench(server.url, { dir, psql, partmanVersion, rounds: options.rounds });
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
    if (options.write) appendResults('partition', table, facts);
    return 0;
  } finally {
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
        rounds: { type: 'string', default: '15' },
        write: { type: 'boolean' },
      },
    });
    const names = values.only?.split(',') ?? measurements.map(({ name }) => name);
    const chosen = measurements.filter(({ name }) => names.includes(name));
    const rounds = Number(values.rounds);
    const known = chosen.length === names.length && Number.isInteger(rounds) && rounds > 0;
    if (positionals.join(' ') !== 'partition' || !known) return null;
    return { chosen, rounds, write: values.write === true };
  } catch {
    return null;
  }
}

/**
 * @param {string} serverUrl
 * @param {Pick<import('./partition/index.mjs').Bench, 'dir' | 'psql' | 'partmanVersion' | 'rounds'>} given
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
