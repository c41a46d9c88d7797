// Commands about the archive of WAL, which PostgreSQL waits for. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as walPush } from '../wal/push.ts';
export { command as walFetch } from '../wal/fetch.ts';
