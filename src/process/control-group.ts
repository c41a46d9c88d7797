import { readFile } from 'node:fs/promises';
import { posix } from 'node:path';

/** What a process may take at most, by its control groups; a field is missing where they set no limit. */
export interface ControlGroupLimits {
  memoryBytes?: number;
  cpus?: number;
}

/** Where Linux shows processes and control groups. */
const linux = { processes: '/proc', groups: '/sys/fs/cgroup' };

/**
 * The limits of a container, of a unit of systemd, or of whatever else a process runs in: the smallest of its group and of
 * all above it, of version 2 as well as of version 1. Nothing where that cannot be read.
 */
export async function limitsOf(pid: number, places = linux): Promise<ControlGroupLimits> {
  const text = await readFile(posix.join(places.processes, String(pid), 'cgroup'), 'utf8').catch(() => '');
  const memory: number[] = [];
  const cpus: number[] = [];
  for (const line of text.split('\n')) {
    const [, controllers = '', path = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const names = controllers.split(',');
    for (const level of levelsOf(path)) {
      const read = (controller: string, file: string) =>
        numbersIn(posix.join(places.groups, controller, level, file));
      if (controllers === '') {
        memory.push(...(await read('', 'memory.max')));
        cpus.push(...share(await read('', 'cpu.max')));
      }
      if (names.includes('memory')) memory.push(...(await read('memory', 'memory.limit_in_bytes')));
      if (names.includes('cpu')) {
        const quota = await read('cpu', 'cpu.cfs_quota_us');
        cpus.push(...share([...quota, ...(await read('cpu', 'cpu.cfs_period_us'))]));
      }
    }
  }
  return {
    ...(memory.length === 0 ? {} : { memoryBytes: Math.min(...memory) }),
    ...(cpus.length === 0 ? {} : { cpus: Math.min(...cpus) }),
  };
}

/** "/a/b", "/a" and "/" of "/a/b". A path out of our own namespace has no folder here. */
function levelsOf(path: string): string[] {
  const parts = path.split('/').filter(Boolean);
  if (parts.includes('..')) return ['/'];
  return Array.from({ length: parts.length + 1 }, (_, count) => `/${parts.slice(0, count).join('/')}`);
}

/** Nothing for a file that is not there, and for one that says "max": no limit. */
async function numbersIn(file: string): Promise<number[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return /^-?\d+( \d+)?\s*$/.test(text) ? text.trim().split(' ').map(Number) : [];
}

/** So much time in each period is so many cores. -1 is no limit. */
function share([quota = -1, period = 0]: number[]): number[] {
  return quota > 0 && period > 0 ? [quota / period] : [];
}
