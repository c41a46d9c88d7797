// npm run test:matrix: the integration tests on one server of each supported major version.
// Numbers choose the majors, everything else goes to vitest: npm run test:matrix -- 14 18 test/integration/locks.test.ts
import { SUPPORTED_MAJORS, embeddedBinaries, embeddedVersion } from './lib/postgres-server.mjs';
import { runVitest } from './lib/run.mjs';

const args = process.argv.slice(2);
const chosen = args.filter((arg) => /^\d+$/.test(arg)).map(Number);
const vitestArgs = args.filter((arg) => !/^\d+$/.test(arg));
const unknown = chosen.filter((major) => !SUPPORTED_MAJORS.includes(major));
if (unknown.length > 0) {
  console.error(`not a supported PostgreSQL: ${unknown.join(', ')} (${SUPPORTED_MAJORS.join(', ')} are)`);
  process.exit(2);
}

/** @type {{ major: number, result: string, ok: boolean }[]} */
const rows = [];
for (const major of chosen.length > 0 ? chosen : SUPPORTED_MAJORS) {
  rows.push({ major, ...(await testOn(major)) });
}

console.log('\nPostgreSQL  result');
for (const { major, result } of rows) console.log(`${String(major).padEnd(12)}${result}`);
if (rows.some(({ ok }) => !ok)) process.exitCode = 1;

/** @param {number} major */
async function testOn(major) {
  if (!embeddedVersion(major))
    return { ok: true, result: 'not tested: no prebuilt server for this platform' };
  let binDir;
  try {
    binDir = embeddedBinaries(major);
  } catch (error) {
    return { ok: false, result: `no server: ${error instanceof Error ? error.message : String(error)}` };
  }
  console.log(`\nPostgreSQL ${embeddedVersion(major)} (${binDir})`);
  // An empty DBOPS_TEST_URL: an external server of the environment would take precedence.
  const env = { DBOPS_TEST_PG_BIN: binDir, DBOPS_TEST_URL: '' };
  const { code, summary } = await runVitest(['--project', 'integration', ...vitestArgs], env);
  if (!summary) return { ok: false, result: `vitest ended with exit code ${code} and no result` };
  const { passed, failed, skipped } = summary;
  const counts = `${passed} passed, ${failed} failed, ${skipped.length} skipped`;
  return { ok: code === 0, result: code === 0 ? counts : `FAILED (exit code ${code}): ${counts}` };
}
