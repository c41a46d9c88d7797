import { DbopsError } from '../../../errors.ts';
import type { Tool } from '../../../process/tools.ts';

/** Programs of a restore, as paths. */
export interface RestorePrograms {
  pgRestore: string;
  psql: string;
  zstd: string;
  /** What the choice of programs leaves open. */
  warnings: string[];
}

/**
 * pg_restore of the server's own major where it can read the dump, else the nearest newer one: an older one than the
 * pg_dump that wrote it refuses the archive, and a newer one than the server may ask it for settings that it lacks.
 * Throws tool_failed naming what is missing.
 */
export function chooseRestorePrograms(
  tools: Tool[],
  serverMajor: number,
  dumpMajor: number,
): RestorePrograms {
  const usable = tools.filter((tool) => tool.version !== undefined);
  const zstd = usable.find((tool) => tool.name === 'zstd');
  if (zstd === undefined) throw missing('zstd', 'zstd');
  const least = Math.max(serverMajor, dumpMajor);
  const nearest = (name: string) =>
    usable
      .filter((tool) => tool.name === name && (tool.major ?? 0) >= least)
      .sort((one, other) => (one.major ?? 0) - (other.major ?? 0))[0];
  const psql = nearest('psql') ?? usable.find((tool) => tool.name === 'psql');
  if (psql === undefined) throw missing('psql', 'postgresql-client');
  const pgRestore = nearest('pg_restore');
  if (pgRestore === undefined) {
    const others = usable
      .filter((tool) => tool.name === 'pg_restore')
      .map((tool) => `${tool.path} (${tool.version ?? ''})`);
    throw new DbopsError(
      'tool_failed',
      `pg_restore of PostgreSQL ${String(least)} or newer is not installed on this host`,
      {
        detail: others.length === 0 ? undefined : `found: ${others.join(', ')}`,
        hint: `Install it (Debian and Ubuntu: apt-get install postgresql-client-${String(least)}), or put its folder on the PATH.`,
      },
    );
  }
  return {
    pgRestore: pgRestore.path,
    psql: psql.path,
    zstd: zstd.path,
    warnings:
      pgRestore.major === serverMajor
        ? []
        : [
            `pg_restore ${pgRestore.version ?? ''} is newer than the server: it may set parameters that the server does not know`,
          ],
  };
}

/** The pg_dump that reads this server, the nearest one to its major. Throws tool_failed. */
export function choosePgDump(tools: Tool[], serverMajor: number): string {
  const [found] = tools
    .filter((tool) => tool.name === 'pg_dump' && (tool.major ?? 0) >= serverMajor)
    .sort((one, other) => (one.major ?? 0) - (other.major ?? 0));
  if (found !== undefined) return found.path;
  throw missing(
    `pg_dump of PostgreSQL ${String(serverMajor)} or newer`,
    `postgresql-client-${String(serverMajor)}`,
  );
}

function missing(name: string, debianPackage: string): DbopsError {
  return new DbopsError('tool_failed', `${name} is not installed on this host, and restores need it`, {
    hint: `Install it (Debian and Ubuntu: apt-get install ${debianPackage}), then run it again; "dbops doctor" lists what is missing.`,
  });
}
