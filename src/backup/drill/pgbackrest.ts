import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { giveTo, makeOwnDirectory } from '../cluster/owner.ts';
import { findClusterPrograms } from '../cluster/programs.ts';
import type { PgbackrestPart } from '../manifest.ts';
import { restorePgbackrest } from '../pgbackrest/restore.ts';
import { findPgbackrest } from '../pgbackrest/site.ts';
import { targetOf } from '../restore/pitr/pgbackrest.ts';
import type { Target } from '../restore/pitr/target.ts';
import type { Drilling } from './context.ts';
import type { DrillPlace, Unpacked } from './physical.ts';

/** Lets pgBackRest restore one of its backups, which compares every file with its own manifest on the way. */
export async function unpackPgbackrest(
  drilling: Drilling,
  part: PgbackrestPart,
  target: Target,
  place: DrillPlace,
): Promise<Unpacked> {
  const { backup, findTools, signal } = drilling;
  const { directory, dataDirectory, account } = place;
  const major = Math.floor(backup.manifest.server.versionNum / 10_000);
  const { postgres } = await findClusterPrograms(findTools, major, ['postgres']);
  const site = await findPgbackrest(drilling);
  const spaces = join(directory, 'tablespaces');
  for (const path of [dataDirectory, spaces]) await makeOwnDirectory(path, account);
  const wish = {
    part,
    dataDirectory,
    target: targetOf(target),
    tablespaces: {},
    otherTablespaces: spaces,
    timeline: undefined,
  };
  await restorePgbackrest({ ...site, account }, { ...wish, action: 'promote', archiving: 'off' }, signal);
  // On Debian the configuration is not in the backup; where it is, it names what belongs to the source.
  const config = join(directory, 'postgresql.conf');
  await writeFile(config, '# The settings of the drill are on its command line.\n', { mode: 0o600 });
  await giveTo(config, account);
  return {
    postgres,
    hasStop: target.kind !== 'latest',
    endsAt: new Date(part.stoppedAt),
    dataChecksums: undefined,
    // As many as a cluster may have prepared: the recovery takes them all up.
    settings: { config_file: config, max_prepared_transactions: '1000' },
    proveFiles: () =>
      Promise.resolve({
        name: 'pg_verifybackup',
        outcome: 'ok',
        detail: 'pgBackRest has compared every file with its manifest',
      }),
    configure: () => Promise.resolve(),
  };
}
