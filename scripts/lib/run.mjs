// Runs vitest and other programs for the scripts, with their output on our terminal.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** @typedef {import('./summary-reporter.mjs').Summary} Summary */

/** The directory of package.json. */
export const projectRoot = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');

/**
 * Runs a program to its end and returns its exit code. Ctrl-C is left to the program, which the terminal
 * tells as well; SIGTERM is passed on. So nothing is left running, and what follows can clean up.
 * @param {string} command
 * @param {string[]} args
 * @param {Record<string, string>} [env] added to our own
 */
export async function run(command, args, env = {}) {
  const child = spawn(command, args, { cwd: projectRoot, stdio: 'inherit', env: { ...process.env, ...env } });
  const leaveToChild = () => undefined;
  const passOn = () => child.kill('SIGTERM');
  process.on('SIGINT', leaveToChild);
  process.on('SIGTERM', passOn);
  try {
    const [code, signal] = await once(child, 'exit');
    return typeof code === 'number'
      ? code
      : 128 + (os.constants.signals[/** @type {NodeJS.Signals} */ (signal)] ?? 0);
  } finally {
    process.off('SIGINT', leaveToChild);
    process.off('SIGTERM', passOn);
  }
}

/**
 * Runs vitest once; the summary is null where it ended before it could report.
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 * @returns {Promise<{ code: number, summary: Summary | null }>}
 */
export async function runVitest(args, env = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-summary-'));
  const file = path.join(dir, 'summary.json');
  const vitest = path.join(projectRoot, 'node_modules', 'vitest', 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=./scripts/lib/summary-reporter.mjs'];
  try {
    const all = [vitest, 'run', ...reporters, ...args];
    const code = await run(process.execPath, all, { ...env, DBOPS_TEST_SUMMARY: file });
    const summary = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : null;
    return { code, summary };
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}
