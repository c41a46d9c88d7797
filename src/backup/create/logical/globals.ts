import { text } from 'node:stream/consumers';
import { DbopsError } from '../../../errors.ts';
import { bodyOf, startPipeline } from '../../../process/pipeline.ts';
import type { LogicalPart } from '../../manifest.ts';
import type { Making } from '../maker.ts';
import { dumpEnvironment, pgDumpall, zstd } from './commands.ts';
import { keepComplaints } from './failure.ts';
import type { LogicalPlan } from './plan.ts';
import { checkEnd, endOfScript } from './stream.ts';

const name = 'globals.sql.zst';

/**
 * Stores roles, memberships and tablespaces, which no dump of a database holds. A role that may not read the verifiers of
 * passwords gets them without; where even that cannot be read, the backup has none and a warning says so.
 */
export async function storeGlobals(
  making: Making,
  plan: LogicalPlan,
): Promise<Pick<LogicalPart, 'globals' | 'rolePasswords'>> {
  const { log, signal } = making.context;
  for (const rolePasswords of [true, false]) {
    try {
      await dumpGlobals(making, plan, rolePasswords);
      return { globals: name, rolePasswords };
    } catch (error) {
      const isRefusal = error instanceof DbopsError && error.code === 'tool_failed' && !signal.aborted;
      if (!isRefusal || !/permission denied|must be superuser/.test(error.detail ?? '')) throw error;
      log.warn(
        { event: rolePasswords ? 'backup_without_passwords' : 'backup_without_globals' },
        rolePasswords
          ? 'passwords of roles are not in the backup: only a superuser may read them'
          : `roles and tablespaces are not in the backup: ${error.detail ?? error.message}`,
      );
    }
  }
  return { globals: null, rolePasswords: false };
}

async function dumpGlobals(making: Making, plan: LogicalPlan, withPasswords: boolean): Promise<void> {
  const dumpall = { ...pgDumpall(making.context, plan, withPasswords), side: endOfScript };
  const running = startPipeline([dumpall, zstd(making.context, plan)], {
    env: dumpEnvironment(making.context),
    signal: making.context.signal,
    onLine: keepComplaints,
  });
  const end = Promise.all(running.sides.map((side) => text(side)));
  end.catch(() => undefined);
  await making.sink.put(name, bodyOf(running));
  checkEnd('pg_dumpall', (await end).join(''), 'PostgreSQL database cluster dump complete');
}
