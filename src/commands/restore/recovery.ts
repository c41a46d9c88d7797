import type { PitrContext } from '../../backup/restore/pitr/context.ts';
import { restoreCommand } from '../../backup/wal/lines.ts';
import type { CommandContext } from '../command.ts';
import { installation } from '../wal/installation.ts';

/**
 * How a recovering server gets WAL: by this very dbops with this very configuration. It waits for a store that is in
 * trouble, without an end unless a deadline is given, such as 60s.
 */
export function recoveryOf(
  context: Pick<CommandContext<object>, 'settings' | 'cwd' | 'env'>,
  deadline?: string,
): Pick<PitrContext, 'restoreCommand' | 'environment'> {
  return {
    restoreCommand: (system, stores, own = deadline) =>
      restoreCommand(installation(context, system), stores, own),
    // Beside what every child gets: variables of ours, in which the secrets of stores may stand.
    environment: Object.fromEntries(
      Object.entries(context.env).filter(
        (pair): pair is [string, string] => pair[0].startsWith('DBOPS_') && pair[1] !== undefined,
      ),
    ),
  };
}
