// Commands that show what a server does. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as inspectSlow } from '../inspect/slow.ts';
export { command as inspectLocks } from '../inspect/locks.ts';
export { command as inspectActivity } from '../inspect/activity.ts';
export { command as inspectSizes } from '../inspect/sizes.ts';
export { command as inspectTables } from '../inspect/tables.ts';
export { command as inspectIndexes } from '../inspect/indexes.ts';
export { command as inspectConnections } from '../inspect/connections.ts';
export { command as inspectBloat } from '../inspect/bloat.ts';
