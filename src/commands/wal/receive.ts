import { planReceive, receiveWal } from '../../backup/wal/receive.ts';
import { DbopsError } from '../../errors.ts';
import { libpqEnvironment } from '../../pg/libpq.ts';
import { findTools } from '../../process/tools.ts';
import { getWalSettings } from '../../sql/wal.ts';
import { defineCommand, type Result } from '../command.ts';
import { withWal } from './context.ts';

interface Options {
  slot: string;
}

export const command = defineCommand<Options>({
  changes: true,
  examples: [
    { command: 'dbops wal receive', about: 'until it is ended; for a service, on a host of its own' },
    { command: 'dbops wal receive --dry-run', about: 'what would be run, and where it writes' },
  ],
  notes:
    'For servers whose archive_command cannot be set. The role needs REPLICATION. The slot makes the server keep all WAL\n' +
    'that was not received: watch it, and drop it when nobody receives any more (select pg_drop_replication_slot(...)).',
  declare(cmd) {
    cmd.option('--slot <name>', 'the replication slot; made when it is missing', 'dbops_wal');
    cmd.option('--dry-run', 'print what would be run');
  },
  async run(context): Promise<Result> {
    const { options, settings, env } = context;
    const db = await context.connect();
    const { systemIdentifier } = await getWalSettings(db);
    const serverMajor = Math.floor(db.server.versionNum / 10_000);
    const tools = await findTools(['pg_receivewal'], env['PATH'] ?? '');
    // It receives from servers of its own major version and older ones.
    const [tool] = tools
      .filter((item) => (item.major ?? 0) >= serverMajor)
      .sort((a, b) => (a.major ?? 0) - (b.major ?? 0));
    if (tool === undefined) {
      throw new DbopsError(
        'tool_failed',
        `pg_receivewal ${String(serverMajor)} is not installed on this host`,
        {
          hint: `Install the client tools (Debian and Ubuntu: apt-get install postgresql-client-${String(serverMajor)}).`,
        },
      );
    }
    const plan = planReceive(settings.wal.spool, systemIdentifier, tool.path, options.slot);
    if (options.dryRun === true) {
      const text = `${plan.program} --directory ${plan.folder} --slot ${plan.slot}, pushed to ${settings.wal.copies.join(', ')}`;
      return { data: { dryRun: true, ...plan }, text };
    }
    const connection = libpqEnvironment({ ...settings.connection, applicationName: 'dbops wal receive' });
    const pushed = await withWal(context, (wal) => receiveWal(wal, plan, connection));
    return { data: { pushed }, text: `${String(pushed)} files were archived` };
  },
});
