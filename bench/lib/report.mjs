// What a run prints: the table of figures, and what they were measured on.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { projectRoot } from '../../scripts/lib/run.mjs';

/**
 * One row of the table.
 * @typedef {object} Figure
 * @property {string} what
 * @property {string} target `-` for a row that is there to compare with
 * @property {string} measured
 * @property {string} [ratio]
 * @property {boolean} [met] left out where there is no target
 */

/**
 * @param {Figure[]} figures
 * @returns {string} a Markdown table that reads well in a terminal too
 */
export function renderFigures(figures) {
  const rows = [
    ['what', 'target', 'measured', 'ratio', 'met'],
    ...figures.map(({ what, target, measured, ratio = '-', met }) => [
      what,
      target,
      measured,
      ratio,
      met === undefined ? '-' : met ? 'yes' : 'NO',
    ]),
  ];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map(
    (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`,
  );
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [lines[0], rule, ...lines.slice(1)].join('\n');
}

/**
 * What the figures were measured on, one line each.
 * @param {{ serverVersion: string, psqlVersion: string, partmanVersion: string | null, rounds: number }} facts
 */
export function describeMachine({ serverVersion, psqlVersion, partmanVersion, rounds }) {
  const memory = `${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`;
  const load = os.loadavg()[0] ?? 0;
  return [
    `date: ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC, commit ${commit()}`,
    `machine: ${os.availableParallelism()} cores (${os.cpus()[0]?.model.trim() ?? 'unknown'}), ${memory}, ` +
      `${os.type()} ${os.release()}, load at the end ${load.toFixed(1)}`,
    `versions: Node ${process.version}, PostgreSQL ${serverVersion}, ${psqlVersion}, ` +
      `pg_partman ${partmanVersion ?? 'not installed'}`,
    `rounds: ${rounds}; ratios are medians of the ratios of runs made in turns`,
  ];
}

function commit() {
  try {
    const git = (/** @type {string[]} */ ...args) =>
      execFileSync('git', args, { cwd: projectRoot, encoding: 'utf8' }).trim();
    const changed = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : ' with local changes';
    return `${git('rev-parse', '--short', 'HEAD')}${changed}`;
  } catch {
    return 'unknown';
  }
}

/**
 * Appends a run to bench/RESULTS.md.
 * @param {string} topic
 * @param {string} table
 * @param {string[]} facts
 */
export function appendResults(topic, table, facts) {
  const file = path.join(projectRoot, 'bench', 'RESULTS.md');
  const before = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '# Benchmark runs\n';
  const title = `## ${topic}, ${new Date().toISOString().slice(0, 10)}`;
  const list = facts.map((line) => `- ${line}`).join('\n');
  fs.writeFileSync(file, `${before.trimEnd()}\n\n${title}\n\n${table}\n\n${list}\n`);
}

/** @param {number} ms */
export function milliseconds(ms) {
  return ms < 10_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** @param {number} ms */
export function seconds(ms) {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
