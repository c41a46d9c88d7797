// npm run quickstart [-- --keep]: from a fresh clone to a first night with dbops, on a private PostgreSQL.
// Only modules of Node itself may be imported here, directly or not: the packages may not be there yet.
import { parseArgs } from 'node:util';
import { embeddedBinaries, findSystemBinaries, startServer } from './lib/postgres-server.mjs';
import { bundleIsCurrent, packagesAreInstalled } from './lib/prepare.mjs';
import { run } from './lib/run.mjs';

const USAGE = `usage: npm run quickstart [-- --keep]

  --keep   leave the server running afterwards, and say where it is and how to stop it`;

/** The major for machines without PostgreSQL: one that most people run. */
const EMBEDDED_MAJOR = 17;

/** Nothing on this server has to survive a power cut. */
const THROWAWAY = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', jit: 'off' };

process.exitCode = await main().catch((error) => {
  console.error(`\nquickstart: ${error instanceof Error ? error.message : error}`);
  return 1;
});

async function main() {
  const options = readOptions();
  if (!options) {
    console.error(USAGE);
    return 2;
  }
  if (!packagesAreInstalled()) await step('installing the packages', 'npm', ['ci', '--loglevel=error']);
  const started = Date.now();
  if (!bundleIsCurrent()) await step('building', process.execPath, ['scripts/build.mjs']);
  console.log('starting a private PostgreSQL ...');
  const binDir = findSystemBinaries()?.dir ?? embeddedBinaries(EMBEDDED_MAJOR);
  const server = await startServer({ binDir, settings: THROWAWAY });
  let kept = false;
  try {
    const { tour } = await import('./lib/tour.mjs');
    await tour(server);
    if (options.keep) kept = leaveRunning(server);
  } finally {
    if (!kept) await server.stop();
  }
  const took = ((Date.now() - started) / 1000).toFixed(0);
  console.log(`\nDone in ${took} s${kept ? '' : '; the server is stopped and its directory removed'}.`);
  if (!kept) console.log('To look around yourself: npm run quickstart -- --keep');
  return 0;
}

function readOptions() {
  try {
    const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
    return values;
  } catch {
    return null;
  }
}

/** @param {import('./lib/postgres-server.mjs').Server} server */
function leaveRunning(server) {
  server.leaveRunning();
  console.log(`\nThe server goes on running at ${server.url}`);
  console.log(`To stop it and remove it: kill -INT ${server.pid} && sleep 2 && rm -r ${server.dir}`);
  return true;
}

/**
 * @param {string} what
 * @param {string} command
 * @param {string[]} args
 */
async function step(what, command, args) {
  console.log(`${what} ...`);
  const code = await run(command, args);
  if (code !== 0) throw new Error(`${[command, ...args].join(' ')} ended with exit code ${code}`);
}
