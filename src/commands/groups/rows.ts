// Commands over rows of tables. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as rowsPurge } from '../rows/purge.ts';
export { command as rowsMove } from '../rows/move.ts';
export { command as rowsMask } from '../rows/mask.ts';
export { command as rowsRun } from '../rows/run.ts';
export { command as rowsJobs } from '../rows/jobs.ts';
export { command as rowsResume } from '../rows/resume.ts';
export { command as rowsCancel } from '../rows/cancel.ts';
