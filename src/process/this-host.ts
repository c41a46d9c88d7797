import { readFile } from 'node:fs/promises';
import { networkInterfaces, platform } from 'node:os';

/** Of a session: whom it talks to. */
interface Session {
  /** Of the process that serves it. */
  pid: number;
  database: string;
}

/**
 * Whether a server runs on this host: the process of our session does. Its address alone does not tell: a tunnel ends at
 * 127.0.0.1 of the other host. Where processes cannot be seen, only a socket counts.
 */
export async function isThisHost({ pid, database }: Session, serverAddress: string | null): Promise<boolean> {
  if (isOtherAddress(serverAddress)) return false;
  if (platform() !== 'linux') return serverAddress === null;
  // "postgres: user database host(port) idle", with the name of the cluster in front where it has one.
  const title = await readFile(`/proc/${String(pid)}/cmdline`, 'utf8').catch(() => '');
  return title.startsWith('postgres: ') && title.includes(` ${database} `);
}

/** Whether an address of a server is none of this host; null: a socket. A container has one that its host has not. */
function isOtherAddress(address: string | null): boolean {
  if (address === null || /^(127\.|::1$)/.test(address)) return false;
  const own = Object.values(networkInterfaces()).flatMap((item) => item ?? []);
  return !own.some((item) => item.address === address);
}
