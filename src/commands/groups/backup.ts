// Commands about backups. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as backupCreate } from '../backup/create.ts';
export { command as backupDrill } from '../backup/drill.ts';
export { command as backupSchema } from '../backup/schema.ts';
export { command as backupPrune } from '../backup/prune.ts';
export { command as restorePitr } from '../restore/pitr.ts';
export { command as restoreDatabase } from '../restore/database.ts';
export { command as restoreTable } from '../restore/table.ts';
export { command as restorePartition } from '../restore/partition.ts';
export { command as backupVerify } from '../backup/verify.ts';
export { command as backupHold } from '../backup/hold.ts';
export { command as backupList } from '../backup/list.ts';
export { command as backupRelease } from '../backup/release.ts';
export { command as backupShow } from '../backup/show.ts';
