import { resolve } from 'node:path';
import type { Installation } from '../../backup/wal/lines.ts';
import type { CommandContext } from '../command.ts';

/** How settings of a server call this very dbops with this very configuration, wherever they are run. */
export function installation(
  { settings, cwd }: Pick<CommandContext<object>, 'settings' | 'cwd'>,
  systemIdentifier: string,
): Installation {
  const [file] = settings.files;
  return {
    node: process.execPath,
    entry: resolve(process.argv[1] ?? ''),
    // What lies in /etc is found from everywhere; other files are found by where one stands, or who one is.
    config: file === undefined || file.kind === 'system' ? undefined : resolve(cwd, file.path),
    spool: settings.wal.spool,
    systemIdentifier,
  };
}
