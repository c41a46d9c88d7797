import { registerEverywhere, wantedSettings, type WantedSetting } from '../../backup/wal/settings.ts';
import { findDataDirectory, findSegmentBytes } from '../../backup/wal/data-directory.ts';
import { settingLine } from '../../backup/wal/lines.ts';
import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import { getWalSettings, type WalSettingsRow } from '../../sql/wal.ts';
import { defineCommand, type CommandContext, type Result } from '../command.ts';
import { withWal } from './context.ts';
import { installation } from './installation.ts';

interface Options {
  dataDir?: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    {
      command: 'dbops wal commands',
      about: 'lines for postgresql.conf; registers the cluster in its stores',
    },
    { command: 'dbops wal commands --dry-run', about: 'the lines alone' },
  ],
  notes:
    "Run it on the database host, as the server's own operating system user: it is this user who must be able to read\n" +
    'dbops, its configuration and what is registered in a store of files, and to write to that and below wal.spool.',
  declare(cmd) {
    cmd.option('--data-dir <directory>', 'of a server that cannot be reached');
    cmd.option('--dry-run', 'print the lines and register nothing');
  },
  async run(context): Promise<Result> {
    const { options, settings } = context;
    const { server, cluster } = await lookAt(context);
    const wanted = wantedSettings(installation(context, cluster.systemIdentifier), server);
    const stores =
      options.dryRun === true ? [] : await withWal(context, (wal) => registerEverywhere(wal, cluster));
    for (const { store, isNew } of stores) {
      if (!isNew) continue;
      context.log.info(
        { event: 'wal_registered', store, cluster: cluster.systemIdentifier },
        `the cluster ${cluster.systemIdentifier} is registered in store "${store}" now`,
      );
    }
    const warnings = [
      ...(settings.wal.copies.length === 0 ? ['there is no store for WAL: name one under "stores:"'] : []),
      ...(server === undefined ? ['the server could not be asked which of these are set already'] : []),
      ...((server?.archiveLibrary ?? '') === ''
        ? []
        : [
            `archive_library is set to "${server?.archiveLibrary ?? ''}", which takes the place of archive_command`,
          ]),
    ];
    return {
      data: { systemIdentifier: cluster.systemIdentifier, settings: wanted, stores },
      text: [`# cluster ${cluster.systemIdentifier}`, ...wanted.flatMap(lines)].join('\n'),
      warnings,
    };
  },
});

function lines(wanted: WantedSetting): string[] {
  const { name, value, current, isSet, about } = wanted;
  const state =
    current === null ? '' : isSet ? ' (set already)' : ` (now: ${current === '' ? 'empty' : current})`;
  return ['', `# ${about}${state.replaceAll('\n', ' ')}`, settingLine(name, value)];
}

/** The server itself, or its data directory where it cannot be reached. */
async function lookAt(context: CommandContext<Options>): Promise<{
  server: WalSettingsRow | undefined;
  cluster: { systemIdentifier: string; walSegmentBytes: number };
}> {
  const { dataDir } = context.options;
  if (dataDir === undefined) {
    const db = await reach(context);
    if (db !== undefined) {
      const server = await getWalSettings(db);
      return { server, cluster: server };
    }
  }
  const data = await findDataDirectory(dataDir ?? context.cwd);
  const walSegmentBytes = await findSegmentBytes(data.path);
  return { server: undefined, cluster: { systemIdentifier: data.systemIdentifier, walSegmentBytes } };
}

/** Undefined in a data directory whose server does not answer. */
async function reach(context: CommandContext<Options>): Promise<Db | undefined> {
  try {
    return await context.connect();
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode !== 3) throw error;
    const isThere = await findDataDirectory(context.cwd).then(
      () => true,
      () => false,
    );
    if (!isThere) throw error;
    return undefined;
  }
}
