import type { RestoreContext } from './context.ts';

const megabyte = 1024 * 1024;
/** For the sorts of all sessions together: more makes indexes of large tables faster, and the server is not ours alone. */
const sortMemoryBytes = 512 * megabyte;

/** The database as an argument: a name with = or :// in it would be taken for more than a name. */
export function connectionString(database: string): string {
  return `dbname='${database.replaceAll(/[\\']/g, String.raw`\$&`)}'`;
}

/**
 * Nobody else uses the database: nothing has to be durable before the end, which waits for all of it. A database that is
 * set to be read-only is restored all the same.
 */
export function sessionOptions(context: RestoreContext, target: { maintenanceMemoryBytes: number }): string {
  const share = Math.min(256 * megabyte, Math.floor(sortMemoryBytes / context.jobs));
  const memory = Math.max(target.maintenanceMemoryBytes, share);
  return [
    'synchronous_commit=off',
    'default_transaction_read_only=off',
    `maintenance_work_mem=${String(Math.floor(memory / 1024))}kB`,
  ]
    .map((setting) => `-c ${setting}`)
    .join(' ');
}
