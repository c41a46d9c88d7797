import { DbopsError } from '../../errors.ts';
import { findSuperuser, listOpenDatabases } from '../../sql/drill.ts';
import type { RunningServer } from '../cluster/server.ts';
import type { Drilling } from './context.ts';
import { lookInto, type Restored } from './proofs/restored.ts';
import { sessionsOn } from './scratch.ts';

/**
 * Sessions of a superuser on a restored cluster. Who that is is found by asking as somebody else: every role may log in
 * there. Throws privilege_missing where no superuser may, or what a connection fails with.
 */
export async function openRestored(drilling: Drilling, server: RunningServer): Promise<Restored> {
  const { backup, signal, log, jobs, findTools } = drilling;
  const { manifest } = backup;
  const known = (manifest.physical?.databases ?? []).toSorted(
    (a, b) => (b.sizeBytes ?? 0) - (a.sizeBytes ?? 0),
  );
  const names = [drilling.database, ...known.map((item) => item.name), 'postgres', 'template1'];
  const wanted = [...new Set(names)].filter((name) => name !== undefined);
  const { user, databases } = await asAnybody(drilling, server, wanted);
  const major = Math.floor(manifest.server.versionNum / 10_000);
  const pgAmcheck = (await findTools(['pg_amcheck'])).find((tool) => tool.major === major);
  return {
    ...sessionsOn(server, user, signal),
    database: wanted.find((name) => databases.includes(name)) ?? 'template1',
    databases,
    isSuperuser: true,
    pgAmcheck: pgAmcheck?.path,
    jobs,
    log,
    signal,
  };
}

async function asAnybody(
  { backup, signal }: Drilling,
  server: RunningServer,
  databases: string[],
): Promise<{ user: string; databases: string[] }> {
  let last: unknown;
  for (const user of ['postgres', backup.manifest.createdBy.databaseUser]) {
    for (const name of databases) {
      try {
        return await lookInto(sessionsOn(server, user, signal), name, async (db) => {
          const superuser = await findSuperuser(db);
          if (superuser !== undefined) return { user: superuser, databases: await listOpenDatabases(db) };
          throw new DbopsError('privilege_missing', 'no superuser of the cluster may log in');
        });
      } catch (error) {
        if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
        last = error;
      }
    }
  }
  throw last;
}
