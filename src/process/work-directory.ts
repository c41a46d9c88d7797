import { mkdtemp, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';

/** dbops-<label>-<process id>-<chance> */
const pattern = /^dbops-work-[a-z]+-(\d+)-\w+$/;

/**
 * Does something with a directory of its own below `parent`, and removes it, whatever happens. What a killed process of
 * this host has left there is removed first: its name says whose it was. `label` is lower case letters.
 */
export async function withWorkDirectory<T>(
  parent: string,
  label: string,
  work: (directory: string) => Promise<T>,
): Promise<T> {
  for (const name of await readdir(parent)) {
    const owner = pattern.exec(name)?.[1];
    if (owner === undefined || isAlive(Number(owner))) continue;
    // Another user's cannot be removed, and is not ours to complain about.
    await rm(join(parent, name), { recursive: true, force: true }).catch(() => undefined);
  }
  const directory = await mkdtemp(join(parent, `dbops-work-${label}-${String(process.pid)}-`));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Bytes that may still be written below a directory. */
export async function freeBytesOf(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
