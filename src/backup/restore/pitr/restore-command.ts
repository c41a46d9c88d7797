import { chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import { ownAccount, type Account } from '../../../process/account.ts';
import { startPipeline } from '../../../process/pipeline.ts';
import { historyName } from '../../wal/segment.ts';
import type { PhysicalBackup } from './candidates.ts';
import type { PitrContext } from './context.ts';

/** An answer takes longer only where something is wrong, which the command would wait for without an end. */
const patienceMs = 25_000;
/** Before that the command itself says what keeps it. */
const deadline = '15s';

/**
 * Asks for one file with the restore_command as the server will: as its user, with its environment, in a data directory of
 * this cluster. What that user may not read (the configuration, a store, a key) is found before anything is written.
 * Throws refused.
 */
export async function tryRestoreCommand(
  context: PitrContext,
  account: Account,
  backup: PhysicalBackup,
  stores: string[],
): Promise<void> {
  const { systemIdentifier } = backup.manifest.server;
  const restoreCommand = context.restoreCommand(systemIdentifier, stores, deadline);
  // Not the work directory: the user of the server may not be able to enter it.
  const directory = await mkdtemp('/tmp/dbops-fetch-');
  try {
    await pretendCluster(directory, systemIdentifier, account);
    // No segment, since others would be fetched ahead of it; it may well not exist.
    const name = historyName(backup.physical.timeline);
    const command = restoreCommand.replaceAll(/%[fp%]/g, (word) =>
      word === '%f' ? name : word === '%p' ? join(directory, name) : '%',
    );
    const said: string[] = [];
    // A pipeline of one: all that the shell starts ends with it.
    const asked = startPipeline([{ path: '/bin/sh', args: ['-c', command] }], {
      account,
      cwd: directory,
      env: context.environment,
      signal: AbortSignal.any([context.signal, AbortSignal.timeout(patienceMs)]),
      isSilent: true,
      onLine: (line) => {
        said.push(line);
        if (said.length > 20) said.shift();
        return true;
      },
    });
    await asked.finished.catch((failure: unknown) => {
      if (context.signal.aborted) throw failure;
      // "Not there" is an answer of the stores too.
      const isAnswer = failure instanceof DbopsError && failure.message.endsWith('ended with exit code 1');
      if (!isAnswer) throw unusable(restoreCommand, account, said, failure);
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** What the command looks at to know the cluster: the identifier at the beginning of global/pg_control. */
async function pretendCluster(directory: string, systemIdentifier: string, account: Account): Promise<void> {
  const bytes = Buffer.alloc(8);
  if (endianness() === 'LE') bytes.writeBigUInt64LE(BigInt(systemIdentifier));
  else bytes.writeBigUInt64BE(BigInt(systemIdentifier));
  const folder = join(directory, 'global');
  await mkdir(folder);
  await writeFile(join(folder, 'pg_control'), bytes);
  if (ownAccount().uid === account.uid) return;
  for (const path of [join(folder, 'pg_control'), folder, directory])
    await chown(path, account.uid, account.gid);
}

function unusable(restoreCommand: string, account: Account, said: string[], failure: unknown): DbopsError {
  return new DbopsError('refused', `the restore_command does not work as user ${account.name}`, {
    detail: [restoreCommand, ...said].join('\n'),
    hint: `The server runs it as ${account.name}: can that user read the configuration, its secrets and the stores, and run dbops? Another one is named by --owner.`,
    cause: failure,
  });
}
