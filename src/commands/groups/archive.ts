// Commands about archives in stores. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as archiveRun } from '../archive/run.ts';
export { command as archiveRestore } from '../archive/restore.ts';
export { command as archiveList } from '../archive/list.ts';
export { command as archiveShow } from '../archive/show.ts';
export { command as archiveSchema } from '../archive/schema.ts';
export { command as archiveQuery } from '../archive/query.ts';
export { command as archiveVerify } from '../archive/verify.ts';
export { command as archiveHold } from '../archive/hold.ts';
export { command as archiveRelease } from '../archive/release.ts';
export { command as archivePrune } from '../archive/prune.ts';
