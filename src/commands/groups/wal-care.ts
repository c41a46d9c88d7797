// Commands about the archive of WAL that people run. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as walCommands } from '../wal/commands.ts';
export { command as walStatus } from '../wal/status.ts';
export { command as walReceive } from '../wal/receive.ts';
