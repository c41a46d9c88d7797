import os from 'node:os';
import { execa } from 'execa';

/** A user of this host that programs are run as. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

/** The user that this process runs as. */
export function ownAccount(): Account {
  const { username, uid, gid, homedir } = os.userInfo();
  return { name: username, uid, gid, home: homedir };
}

/** A user of this host by name or number; undefined when there is none. */
export async function findAccount(nameOrUid: string): Promise<Account | undefined> {
  const ask = async (flag: string) => (await execa('id', [flag, '--', nameOrUid], { reject: false })).stdout;
  const [uid, gid, name] = await Promise.all(['-u', '-g', '-un'].map(ask));
  if (uid === undefined || gid === undefined || uid === '' || gid === '') return undefined;
  const entry = await execa('getent', ['passwd', uid], { reject: false });
  // Where there is no getent the home is not known, and a program is better off without one than with ours.
  const home = typeof entry.stdout === 'string' ? entry.stdout.split(':')[5] : undefined;
  return { name: name ?? nameOrUid, uid: Number(uid), gid: Number(gid), home: home ?? '/' };
}
