import { randomBytes } from 'node:crypto';

/**
 * An id of an archive or a backup, 20261121T031500Z-0de3a9c0: the time to the second, then three digits of milliseconds
 * and five of chance, hexadecimal. In order of time, and never the same twice, whatever the clock does.
 */
export function newId(): string {
  const now = new Date();
  const stamp = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const milliseconds = now.getMilliseconds().toString(16).padStart(3, '0');
  return `${stamp}-${milliseconds}${randomBytes(3).toString('hex').slice(1)}`;
}
