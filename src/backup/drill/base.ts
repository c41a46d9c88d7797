import { join } from 'node:path';
import { makeOwnDirectory } from '../cluster/owner.ts';
import { configureRecovery } from '../restore/pitr/configure.ts';
import type { PitrContext } from '../restore/pitr/context.ts';
import { fillDirectory } from '../restore/pitr/fill.ts';
import { planPitr } from '../restore/pitr/plan.ts';
import type { Target } from '../restore/pitr/target.ts';
import type { Drilling } from './context.ts';
import type { DrillPlace, Unpacked } from './physical.ts';
import { proveFiles } from './proofs/files.ts';

/** Unpacks a base or an incremental backup of ours as "restore pitr" does, its tablespaces below the directory of the drill. */
export async function unpackBase(drilling: Drilling, target: Target, place: DrillPlace): Promise<Unpacked> {
  const { backup, jobs, log, signal } = drilling;
  const { directory, dataDirectory, account } = place;
  const spaces = join(directory, 'tablespaces');
  const plan = await planPitr(pitrContext(drilling), {
    id: backup.id,
    system: backup.manifest.server.systemIdentifier,
    target,
    clamp: false,
    pause: false,
    timeline: undefined,
    dataDirectory,
    mappings: (backup.manifest.physical?.tablespaces ?? []).map(({ oid, location }) => ({
      from: location,
      to: join(spaces, oid),
    })),
    owner: account.name,
  });
  drilling.warnings.push(...plan.stop.notes);
  if (plan.tablespaces.length > 0) await makeOwnDirectory(spaces, account);
  for (const { path } of plan.directories) await makeOwnDirectory(path, account);
  const { programs, stop } = plan;
  await fillDirectory({ log, signal, jobs, account, programs }, plan.chain, dataDirectory, plan.tablespaces);
  return {
    postgres: programs.postgres,
    hasStop: stop.setting !== undefined,
    checkEnd: stop.checkEnd,
    endsAt: new Date(plan.backup.physical.stoppedAt),
    dataChecksums: plan.backup.physical.dataChecksums,
    settings: {},
    proveFiles: () => proveFiles(drilling, plan, directory),
    configure: () =>
      configureRecovery({ account, programs }, dataDirectory, plan.backup.physical, plan.tablespaces, {
        stop: stop.setting,
        timeline: plan.history.timeline,
        action: 'promote',
        restoreCommand: plan.restoreCommand,
        keepsArchiving: false,
        port: undefined,
      }),
  };
}

function pitrContext(drilling: Drilling): PitrContext {
  const { settings, log, signal, openStore, findTools, jobs, host, restoreCommand, environment, directory } =
    drilling;
  return {
    ...{ settings, log, signal, openStore, findTools, jobs, host, restoreCommand, environment },
    workDirectory: directory,
    applied: { changes: 0 },
  };
}
