// Gets versitygw, an S3 server of one file, for the tests: built once by Go into the cache.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { cacheDirectory } from './postgres-binaries.mjs';

const VERSION = '1.7.0';
const MODULE = `github.com/versity/versitygw/cmd/versitygw@v${VERSION}`;

/**
 * The path of the program, built on first need (two to three minutes), or why it cannot be had.
 * @returns {{ program: string } | { missing: string }}
 */
export function versitygw() {
  const home = path.join(cacheDirectory(), `versitygw-${VERSION}`);
  const program = path.join(home, 'versitygw');
  if (answers(program)) return { program };
  if (spawnSync('go', ['version'], { stdio: 'ignore' }).status !== 0) {
    return {
      missing: 'needs an S3 server: install Go, which builds versitygw, or set DBOPS_TEST_S3_ENDPOINT',
    };
  }
  // Built aside and renamed, so that neither a kill nor a second process leaves half a program in use.
  const aside = fs.mkdtempSync(path.join(cacheDirectory(), '.install-'));
  try {
    console.error(`building versitygw ${VERSION} into ${home}; this takes a few minutes, once`);
    const { status, stderr, error } = spawnSync('go', ['install', MODULE], {
      env: { ...process.env, GOBIN: aside, CGO_ENABLED: '0' },
      encoding: 'utf8',
    });
    if (status !== 0) {
      return { missing: `versitygw could not be built: ${error?.message ?? stderr.trim().slice(-500)}` };
    }
    fs.chmodSync(aside, 0o755);
    fs.rmSync(home, { recursive: true, force: true });
    fs.renameSync(aside, home);
  } catch (error) {
    // Another process may have been faster.
    if (!answers(program)) throw error;
  } finally {
    fs.rmSync(aside, { recursive: true, force: true });
  }
  return { program };
}

/** @param {string} program */
function answers(program) {
  return fs.existsSync(program) && spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
}
