import { DbopsError } from '../../errors.ts';
import { findAccount, ownAccount, type Account } from '../../process/account.ts';
import type { BackupContext } from '../context.ts';
import { runPgbackrest } from './run.ts';

/** An installed pgBackRest with the stanza of the configuration. */
export interface PgbackrestSite {
  path: string;
  version: string;
  stanza: string;
  /** Its own configuration file; undefined: where it looks by itself. */
  config: string | undefined;
  /** Whom it is run as; undefined: ourselves. */
  account: Account | undefined;
}

/** The first that has what is used here: annotations of backups, and a verify that says which backup is damaged. */
const oldest = [2, 45] as const;

/**
 * The pgBackRest of this host, for the stanza of "backup.pgbackrest". Root runs it as the user of the server: what root
 * leaves in the repository, the server's own archive_command cannot write. Throws config_invalid, tool_failed,
 * unsupported_version.
 */
export async function findPgbackrest(
  context: Pick<BackupContext, 'settings' | 'findTools' | 'signal'>,
): Promise<PgbackrestSite> {
  const wanted = context.settings.backup.pgbackrest;
  if (wanted === undefined) {
    throw new DbopsError('config_invalid', 'the configuration names no stanza of pgBackRest', {
      hint: 'Set "backup.pgbackrest.stanza", and "config" beside it where its file is not in the usual place.',
    });
  }
  const [tool] = await context.findTools(['pgbackrest']);
  if (tool === undefined) {
    throw new DbopsError('tool_failed', 'pgbackrest is not installed on this host', {
      hint: 'Install it (Debian and Ubuntu: apt-get install pgbackrest), or take another kind of backup: "--kind base" needs none.',
    });
  }
  const site = { path: tool.path, version: '', ...wanted, account: await accountOf(wanted.user) };
  const { stdout } = await runPgbackrest(site, 'version', [], context.signal);
  const version = /^pgBackRest (\d+)\.(\d+)/m.exec(stdout);
  const [major, minor] = [Number(version?.[1]), Number(version?.[2])];
  if (!(major > oldest[0] || (major === oldest[0] && minor >= oldest[1]))) {
    throw new DbopsError(
      'unsupported_version',
      `${tool.path} is ${stdout.trim() || 'of an unknown version'}; dbops works with ${oldest.join('.')} and later`,
      { hint: 'The packages of apt.postgresql.org and yum.postgresql.org have a newer one.' },
    );
  }
  return { ...site, version: `${String(major)}.${String(minor)}` };
}

async function accountOf(user: string): Promise<Account | undefined> {
  if (ownAccount().uid !== 0) return undefined;
  const account = await findAccount(user);
  if (account !== undefined) return account;
  throw new DbopsError('config_invalid', `there is no user "${user}" on this host to run pgBackRest as`, {
    hint: 'Name the one that the server and its archive_command run as in "backup.pgbackrest.user".',
  });
}
