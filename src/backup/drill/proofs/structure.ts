import { text } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { DbopsError } from '../../../errors.ts';
import { startChild } from '../../../process/child.ts';
import {
  isExtensionAvailable,
  listCollationDifferences,
  listUnavailableExtensions,
} from '../../../sql/drill.ts';
import { prove, some, type Proof } from '../report.ts';
import { lookInto, type Restored } from './restored.ts';

/** So much of what pg_amcheck found is told. */
const mostWords = 1500;

/**
 * Every table and B-tree of every database, each row looked up in its indexes. pg_amcheck makes the extension that it
 * needs in the restored copy.
 */
export async function proveIndexes(restored: Restored): Promise<Proof> {
  return await prove('pg_amcheck', async () => {
    const { pgAmcheck, database, isSuperuser } = restored;
    if (!isSuperuser) return { outcome: 'unknown', detail: 'it needs a superuser on that server' };
    if (pgAmcheck === undefined)
      return { outcome: 'unknown', detail: 'pg_amcheck is not installed on this host' };
    const isThere = await lookInto(restored, database, (db) => isExtensionAvailable(db, 'amcheck'));
    if (!isThere)
      return {
        outcome: 'unknown',
        detail:
          'the extension amcheck is not installed on the server (Debian and Ubuntu: it comes with postgresql-<major>)',
      };
    const { databases } = restored;
    const found = await runAmcheck(restored, pgAmcheck, databases);
    return found === undefined
      ? {
          outcome: 'ok',
          detail: `tables and indexes of ${some(databases)}, every row looked up in its indexes`,
        }
      : { outcome: 'failed', detail: found };
  });
}

/** What pg_amcheck found; undefined: nothing. It ends with 2 when something is corrupt. */
async function runAmcheck(
  restored: Restored,
  program: string,
  databases: string[],
): Promise<string | undefined> {
  const { database, jobs, signal, connectionTo } = restored;
  const args = ['-w', '--heapallindexed', '--install-missing', `--jobs=${String(jobs)}`];
  const child = startChild(program, [...args, ...databases.map((name) => `--database=${pattern(name)}`)], {
    env: { ...connectionTo(database), LC_ALL: 'C' },
    signal,
  });
  const words = text(child.process.stdout as Readable);
  words.catch(() => undefined);
  try {
    await child.finished;
    return undefined;
  } catch (error) {
    if (!(error instanceof DbopsError) || !error.message.endsWith('with exit code 2')) throw error;
    return (await words).trim().slice(0, mostWords) || (error.detail ?? error.message);
  }
}

/** A name as a pattern that means this name alone: in quotes nothing else has a meaning. */
function pattern(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Whether the extensions of a cluster that came as files can be used here: their libraries came not. */
export async function proveExtensionFiles(restored: Restored): Promise<Proof> {
  return await prove('extensions', async () => {
    const missing: string[] = [];
    for (const name of restored.databases) {
      const rows = await lookInto(restored, name, listUnavailableExtensions);
      missing.push(...rows.map((row) => `${row.name} ${row.version} (database "${name}")`));
    }
    return missing.length === 0
      ? { outcome: 'ok', detail: 'the files of every installed version are on this host' }
      : { outcome: 'failed', detail: `not installed on this host: ${some(missing)}` };
  });
}

/** Whether this host sorts text as the one that built the indexes. */
export async function proveCollations(restored: Restored): Promise<Proof> {
  return await prove('collations', async () => {
    const different: string[] = [];
    for (const name of restored.databases) {
      const rows = await lookInto(restored, name, listCollationDifferences);
      different.push(
        ...rows.map(
          (row) => `${row.name} was ${row.recorded} and is ${row.here ?? 'unknown'} (database "${name}")`,
        ),
      );
    }
    if (different.length === 0) return { outcome: 'ok', detail: 'versions are those of this host' };
    return {
      outcome: 'failed',
      detail: `indexes on text were sorted otherwise than this host does, and need REINDEX after a restore here: ${some(different)}`,
    };
  });
}
