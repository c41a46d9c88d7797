import { pushWal } from '../../backup/wal/push.ts';
import { defineCommand, type Result } from '../command.ts';
import { withWal } from './context.ts';

export const command = defineCommand<object>({
  changes: false,
  examples: [
    { command: 'dbops wal push %p', about: 'in archive_command; "dbops wal commands" prints the whole line' },
  ],
  notes:
    'Exits 0 only when the file is durable in as many stores as wal.required, or was there with the same content\n' +
    'already; else 1, and PostgreSQL keeps the file and asks again.',
  declare(cmd) {
    cmd.argument('<path>', 'the file, as PostgreSQL gives it by %p');
  },
  // Above 125 the archiver would end itself.
  exitCode: (code) => (code === 0 ? 0 : 1),
  async run(context): Promise<Result> {
    const [path = ''] = context.args;
    const { asked, ahead } = await withWal(context, (wal) => pushWal(wal, context.cwd, path));
    context.log.debug(
      { event: 'wal_pushed', file: asked.name, isNew: asked.isNew, ahead },
      `${asked.name} is safe, and ${String(ahead)} more`,
    );
    // PostgreSQL keeps what is printed here in its log: a success is no news.
    return { data: { file: asked.name, isNew: asked.isNew, ahead }, text: '' };
  },
});
