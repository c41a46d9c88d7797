// Shows commands and what they print, as a person would see them at the terminal.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { styleText } from 'node:util';
import { projectRoot } from './run.mjs';

/** @param {string} text */
export function heading(text) {
  console.log(`\n${paint('bold', text)}`);
}

/** @param {string} text */
export function say(text) {
  console.log(text);
}

/**
 * @param {'bold' | 'cyan' | 'dim' | 'green'} style
 * @param {string} text
 */
export function paint(style, text) {
  const { NO_COLOR, TERM } = process.env;
  const plain = !process.stdout.isTTY || (NO_COLOR !== undefined && NO_COLOR !== '') || TERM === 'dumb';
  return plain ? text : styleText(style, text);
}

/**
 * Runs dbops, prints the command as it would be typed and what it printed, and returns its output. Throws when it
 * ends with an exit code that is not expected.
 * @param {string} line what comes after `dbops`
 * @param {{ env: Record<string, string>, lines?: number, codes?: number[] }} options lines: how many of stdout to
 *   show from the beginning; the last one is always shown
 */
export async function showDbops(line, { env, lines = 40, codes = [0] }) {
  console.log(`\n${paint('cyan', `$ dbops ${line}`)}`);
  const { code, stdout, stderr } = await runDbops(words(line), env);
  if (!codes.includes(code)) {
    throw new Error(`dbops ${line} ended with exit code ${code}\n${stdout}${stderr}`);
  }
  console.log(shorten(stdout, lines));
  // The log of a long run repeats what the result says; warnings do not.
  for (const warning of stderr.split('\n').filter((text) => text.includes('warning:'))) {
    console.log(paint('dim', warning));
  }
  return stdout;
}

/**
 * The words of a command line; double quotes keep blanks together, as in a shell.
 * @param {string} line
 */
function words(line) {
  return (line.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));
}

/**
 * @param {string[]} args
 * @param {Record<string, string>} env
 */
export async function runDbops(args, env) {
  const child = spawn(process.execPath, [path.join(projectRoot, 'bin', 'dbops.js'), ...args], {
    cwd: projectRoot,
    env: { ...cleanEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const [code, signal] = await once(child, 'close');
  return {
    code: /** @type {number} */ (code ?? 1),
    stdout,
    stderr: signal ? `${stderr}ended by ${signal}` : stderr,
  };
}

/** The operator's own database and configuration must not be what is shown. */
function cleanEnvironment() {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(PG|DBOPS_|DATABASE_URL$|XDG_CONFIG_HOME$)/.test(name)),
  );
}

/**
 * @param {string} text
 * @param {number} count
 */
function shorten(text, count) {
  const lines = text.trimEnd().split('\n');
  if (lines.length <= count + 1) return lines.join('\n');
  const left = lines.length - count - 1;
  return [...lines.slice(0, count), paint('dim', `  ... ${left} more lines`), lines.at(-1)].join('\n');
}
