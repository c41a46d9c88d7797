// npm test: from a fresh clone to the result of all tests. Further arguments go to vitest.
// Only modules of Node itself may be imported here, directly or not: the packages may not be there yet.
import { packagesAreInstalled, preparePostgres, prepareS3 } from './lib/prepare.mjs';
import { preparePostgres17 } from './lib/postgres17.mjs';
import { run, runVitest } from './lib/run.mjs';

/** @typedef {import('./lib/summary-reporter.mjs').Summary} Summary */

const args = process.argv.slice(2);

process.exitCode = await main().catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  return 1;
});

async function main() {
  if (!packagesAreInstalled()) await step('npm', ['ci']);
  if (onlyUnitTests()) return test({});
  await step(process.execPath, ['scripts/build.mjs']);
  const postgres = await preparePostgres();
  try {
    const newer = preparePostgres17();
    console.log(
      'missing' in newer
        ? `no PostgreSQL 17: ${newer.missing}`
        : `PostgreSQL 17 in ${newer.dir} (${(newer.milliseconds / 1000).toFixed(1)} s)`,
    );
    const s3 = await prepareS3();
    try {
      return await test({ ...postgres.env, ...s3.env });
    } finally {
      await s3.release();
    }
  } finally {
    await postgres.release();
  }
}

/** @param {Record<string, string>} env */
async function test(env) {
  const { code, summary } = await runVitest(args, env);
  if (summary) report(summary);
  return code;
}

/** @param {Summary} summary */
function report({ passed, failed, skipped }) {
  // With a name pattern every other test counts as skipped; only those that say why are of interest then.
  const byPattern = args.some((arg) => /^(-t|--testNamePattern)/.test(arg));
  const shown = skipped.filter(({ reason }) => reason !== '' || !byPattern);
  if (shown.length > 0) console.log('Skipped:');
  for (const { project, file, name, reason } of shown) {
    console.log(`  ${project} ${file} > ${name}: ${reason || 'no reason given'}`);
  }
  console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
}

/** Unit tests need neither the bundle nor a server. */
function onlyUnitTests() {
  const projects = args.flatMap((arg, at) => {
    if (arg.startsWith('--project=')) return [arg.slice('--project='.length)];
    return arg === '--project' ? [args[at + 1]] : [];
  });
  return projects.length > 0 && projects.every((project) => project === 'unit');
}

/**
 * @param {string} command
 * @param {string[]} commandArgs
 */
async function step(command, commandArgs) {
  const code = await run(command, commandArgs);
  if (code !== 0) throw new Error(`${[command, ...commandArgs].join(' ')} ended with exit code ${code}`);
}
