// Commands about archives in stores. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as archiveRun } from '../archive/run.ts';
export { command as archiveRestore } from '../archive/restore.ts';
