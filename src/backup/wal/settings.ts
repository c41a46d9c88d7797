import type { WalSettingsRow } from '../../sql/wal.ts';
import type { Cluster } from './cluster.ts';
import { registerCluster } from './cluster.ts';
import type { WalContext } from './context.ts';
import { archiveCommand, restoreCommand, type Installation } from './lines.ts';

/** A setting of the server that the archive of WAL needs. */
export interface WantedSetting {
  name: string;
  value: string;
  /** As the server has it; null where no server could be asked. */
  current: string | null;
  isSet: boolean;
  /** For people. */
  about: string;
}

/** So often the server closes a segment that is not full: what is lost with the host is not older. */
const archiveTimeoutSeconds = 60;

/** What belongs into postgresql.conf, and what of it is there. Pure. */
export function wantedSettings(
  installation: Installation,
  server: WalSettingsRow | undefined,
): WantedSetting[] {
  const setting = (
    name: string,
    value: string,
    current: string | undefined,
    about: string,
    isSet: boolean,
  ) => ({
    name,
    value,
    current: current ?? null,
    isSet,
    about,
  });
  const push = archiveCommand(installation);
  const fetch = restoreCommand(installation);
  const timeout = server?.archiveTimeoutSeconds;
  return [
    setting(
      'archive_mode',
      'on',
      server?.archiveMode,
      'takes a restart of the server',
      server !== undefined && server.archiveMode !== 'off',
    ),
    setting(
      'archive_command',
      push,
      server?.archiveCommand,
      'takes a reload',
      server?.archiveCommand === push,
    ),
    setting(
      'archive_timeout',
      `${String(archiveTimeoutSeconds)}s`,
      timeout === undefined ? undefined : `${String(timeout)}s`,
      'takes a reload; a quiet server closes a segment so often, and no more than this is lost with its host',
      timeout !== undefined && timeout > 0 && timeout <= archiveTimeoutSeconds,
    ),
    setting(
      'restore_command',
      fetch,
      server?.restoreCommand,
      'for recoveries and standbys; does nothing on a primary',
      server?.restoreCommand === fetch,
    ),
  ];
}

export interface Registration {
  store: string;
  isNew: boolean;
}

/** Registers a cluster in every store of `wal.copies`. Throws what the stores throw. */
export async function registerEverywhere(
  context: WalContext,
  server: Pick<Cluster, 'systemIdentifier' | 'walSegmentBytes'>,
): Promise<Registration[]> {
  const { settings, host, version, signal } = context;
  const cluster: Cluster = {
    systemIdentifier: server.systemIdentifier,
    walSegmentBytes: server.walSegmentBytes,
    registeredAt: new Date().toISOString(),
    host,
    dbops: version,
  };
  return await Promise.all(
    settings.copies.map(async (name) => {
      const store = await context.openStore(name);
      return { store: name, isNew: await registerCluster(store, cluster, signal) };
    }),
  );
}
