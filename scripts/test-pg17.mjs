// npm run test:pg17: the tests that need PostgreSQL 17 with all its programs, which it installs where that can be done.
// Further arguments go to vitest.
import { preparePostgres17 } from './lib/postgres17.mjs';
import { run, runVitest } from './lib/run.mjs';

const args = process.argv.slice(2);
const found = preparePostgres17();
if ('missing' in found) {
  console.error(found.missing);
  process.exitCode = 1;
} else {
  console.log(`PostgreSQL 17 in ${found.dir} (${(found.milliseconds / 1000).toFixed(1)} s)`);
  process.exitCode = await test();
}

async function test() {
  const built = await run(process.execPath, ['scripts/build.mjs']);
  return built === 0 ? (await runVitest(['pg17', ...args])).code : built;
}
