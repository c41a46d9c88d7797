// Writes the parts of documents that come from the program itself. `--check` says what is out of date, and exits 1.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

/** What stands between two marks, and the command that prints it. */
const parts = [
  {
    file: 'docs/health.md',
    begin: '<!-- checks: written by "npm run docs" from the checks themselves -->',
    end: '<!-- end of checks -->',
    args: ['health', 'list', '--format', 'markdown'],
  },
];

for (const { file, begin, end, args } of parts) {
  const place = path.join(root, file);
  const text = fs.readFileSync(place, 'utf8');
  const printed = execFileSync(process.execPath, [path.join(root, 'bin', 'dbops.js'), ...args], {
    encoding: 'utf8',
    // Nothing of whoever runs it belongs into a document.
    env: { PATH: process.env['PATH'] ?? '', DBOPS_CONFIG: '/dev/null' },
  });
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(end);
  if (from < begin.length || to < from) throw new Error(`${file} has lost its marks`);
  const wanted = `${text.slice(0, from)}\n\n${printed.trim()}\n\n${text.slice(to)}`;
  if (wanted === text) continue;
  if (process.argv.includes('--check')) {
    console.error(`${file} is out of date: npm run docs`);
    process.exitCode = 1;
  } else {
    fs.writeFileSync(place, wanted);
    console.log(`${file} was written anew`);
  }
}
