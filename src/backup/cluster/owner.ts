import { chown, mkdir, stat } from 'node:fs/promises';
import { DbopsError } from '../../errors.ts';
import { findAccount, ownAccount, type Account } from '../../process/account.ts';

/**
 * Who a data directory belongs to, and the server on it runs as: the one that was named; else, for root, the owner of the
 * directory where it is there, or the user postgres; else ourselves. PostgreSQL does not run as root. Throws refused.
 */
export async function clusterOwner(dataDirectory: string, named: string | undefined): Promise<Account> {
  const own = ownAccount();
  const name = named ?? (own.uid === 0 ? await ownerOf(dataDirectory) : String(own.uid));
  const account = await findAccount(name);
  if (account === undefined) {
    throw new DbopsError('refused', `there is no user "${name}" on this host to own ${dataDirectory}`, {
      hint: 'Name one with --owner: PostgreSQL does not run as root.',
    });
  }
  if (account.uid === 0) {
    throw new DbopsError(
      'refused',
      `${dataDirectory} cannot belong to root: PostgreSQL does not run as root`,
      {
        hint: 'Name another user with --owner, such as --owner postgres.',
      },
    );
  }
  if (own.uid !== 0 && account.uid !== own.uid) {
    throw new DbopsError('refused', `${own.name} cannot give files to ${account.name}`, {
      hint: `Run it as ${account.name}, or as root.`,
    });
  }
  return account;
}

async function ownerOf(directory: string): Promise<string> {
  const found = await stat(directory).catch(() => undefined);
  return found === undefined || found.uid === 0 ? 'postgres' : String(found.uid);
}

/** Makes a directory that only its owner can enter; one that is there is given to the owner. */
export async function makeOwnDirectory(path: string, account: Account): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await giveTo(path, account);
}

/** Gives a file or a directory that we have made to the user of a server. */
export async function giveTo(path: string, account: Account): Promise<void> {
  if (ownAccount().uid === 0) await chown(path, account.uid, account.gid);
}
