import type { Account } from '../../process/account.ts';
import { startChild } from '../../process/child.ts';
import { makeOwnDirectory } from './owner.ts';

/** The superuser of a scratch cluster, who is let in by its private socket without a password. */
export const scratchUser = 'postgres';

/**
 * Makes an empty cluster for a restore that is thrown away again: nothing is synced, everybody who can enter its private
 * directories is let in, the locale is C. Throws tool_failed.
 */
export async function initScratchCluster(options: {
  /** Path of the program. */
  initdb: string;
  dataDirectory: string;
  account: Account;
  signal: AbortSignal;
  /** Further arguments, such as --locale-provider or --wal-segsize. */
  arguments?: string[];
}): Promise<void> {
  const { initdb, dataDirectory, account, signal } = options;
  await makeOwnDirectory(dataDirectory, account);
  const fixed = [
    '-D',
    dataDirectory,
    '-U',
    scratchUser,
    '--auth=trust',
    '-E',
    'UTF8',
    '--no-locale',
    '--no-sync',
  ];
  const child = startChild(initdb, [...fixed, ...(options.arguments ?? [])], {
    account,
    cwd: dataDirectory,
    env: { LC_ALL: 'C' },
    signal,
  });
  child.process.stdout?.resume();
  await child.finished;
}
