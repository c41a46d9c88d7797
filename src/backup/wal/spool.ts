import { mkdir, readdir, stat, unlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import type { DataDirectory } from './data-directory.ts';

/**
 * The spool of one server, below the configured directory. It is named by the cluster, the host and the place of its data
 * directory: a mark of one server never speaks for the segment of another, not even for that of its own clone, also where
 * hosts or containers share the directory.
 *   <spool>/<system identifier>/<host>/<data directory>/pushed/<name>.ok   the segment is durable in its stores
 *   <spool>/<system identifier>/<host>/<data directory>/fetched/<name>     a segment fetched ahead
 */
export function spoolFolder(spool: string, data: DataDirectory, part: 'pushed' | 'fetched'): string {
  return join(spool, data.systemIdentifier, os.hostname(), data.path, part);
}

/**
 * Marks of segments that are durable, so that archive_command answers without starting dbops. They save work and nothing
 * depends on one: a mark that is lost costs another call, which finds the segment in its stores.
 */
export class Marks {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the place for marks. Throws what the file system throws. */
  async prepare(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
  }

  /**
   * Leaves a mark. An empty file is whole as soon as it is there, so it needs neither a temporary name nor a sync. It is
   * younger than the segment: the shell compares, so that it never speaks for a later file of the same name.
   */
  async leave(name: string): Promise<void> {
    await writeFile(join(this.#folder, `${name}.ok`), '', { mode: 0o600 });
  }

  /**
   * Names that have a mark which holds. Removes those that nobody will ask for any more, and those that are older than
   * their file: it was written anew since. `closedAt` is asked when PostgreSQL finished a file that is ready, undefined
   * for one that is not.
   */
  async sweep(closedAt: (name: string) => Promise<Date | undefined>): Promise<Set<string>> {
    const good = new Set<string>();
    for (const file of await readdir(this.#folder)) {
      const name = file.replace(/\.ok$/, '');
      const path = join(this.#folder, file);
      const closed = await closedAt(name);
      const info = await stat(path).catch(() => undefined);
      if (closed !== undefined && info !== undefined && info.mtime > closed) good.add(name);
      // Another call may have used it up meanwhile.
      else await unlink(path).catch(() => undefined);
    }
    return good;
  }
}
