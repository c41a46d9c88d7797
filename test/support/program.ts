// The program that the tests run. Servers run it too (archive_command, restore_command), as a user who may not be able to
// read the clone: so global-setup.ts copies it, for the time of the run, to where everybody may.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const projectRoot = path.resolve(import.meta.dirname, '..', '..');

/** bin/dbops.js as everybody may run it. */
export const entry = path.join(process.env['DBOPS_TEST_PROGRAM'] ?? projectRoot, 'bin', 'dbops.js');

/** Copies the program as it is built, and returns what removes the copy; nothing is copied where nothing is built. */
export function shareProgram(): () => void {
  if (!fs.existsSync(path.join(projectRoot, 'dist', 'main.js'))) return () => undefined;
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-program-'));
  for (const name of ['bin', 'dist', 'package.json'])
    fs.cpSync(path.join(projectRoot, name), path.join(copy, name), { recursive: true });
  // Optional packages are looked for beside the program.
  fs.symlinkSync(path.join(projectRoot, 'node_modules'), path.join(copy, 'node_modules'));
  fs.chmodSync(copy, 0o755);
  process.env['DBOPS_TEST_PROGRAM'] = copy;
  return () => {
    delete process.env['DBOPS_TEST_PROGRAM'];
    fs.rmSync(copy, { recursive: true, force: true });
  };
}
