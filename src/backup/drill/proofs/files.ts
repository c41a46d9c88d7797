import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { DbopsError } from '../../../errors.ts';
import { startChild } from '../../../process/child.ts';
import { fetchFiles } from '../../fetch.ts';
import type { PitrPlan } from '../../restore/pitr/plan.ts';
import type { Drilling } from '../context.ts';
import { prove, type Proof } from '../report.ts';

const mostWords = 1500;

/** Every file of an unpacked base backup against the manifest that PostgreSQL wrote of it, before a server changes any. */
export async function proveFiles(drilling: Drilling, plan: PitrPlan, directory: string): Promise<Proof> {
  return await prove('pg_verifybackup', async () => {
    const program = await programOf(drilling, 'pg_verifybackup');
    if (program === undefined)
      return { outcome: 'unknown', detail: 'pg_verifybackup of its major is not installed on this host' };
    const { log, signal, jobs } = drilling;
    const { backup, chain, programs, wish } = plan;
    let manifest = join(wish.dataDirectory, 'backup_manifest');
    // pg_combinebackup wrote one of what it put together.
    if (chain.length === 1) {
      manifest = join(directory, 'backup_manifest');
      await fetchFiles({ log, signal, jobs, zstd: programs.zstd }, backup, [
        { name: backup.physical.manifestFile, path: manifest, plain: false },
      ]);
    }
    const wrong = await findingsOf(drilling, program, ['-n', '-q', '-m', manifest, wish.dataDirectory]);
    return wrong === undefined
      ? { outcome: 'ok', detail: 'every file is the one that was copied' }
      : { outcome: 'failed', detail: wrong };
  });
}

/** The checksum of every page, once the server was stopped. */
export async function provePages(
  drilling: Drilling,
  dataDirectory: string,
  hasChecksums: boolean | undefined,
): Promise<Proof> {
  const none = { outcome: 'unknown', detail: 'the cluster has none: see pg_checksums --enable' } as const;
  return await prove('page checksums', async () => {
    if (hasChecksums === false) return none;
    const program = await programOf(drilling, 'pg_checksums');
    if (program === undefined)
      return { outcome: 'unknown', detail: 'pg_checksums of its major is not installed on this host' };
    const wrong = await findingsOf(drilling, program, ['--check', '-D', dataDirectory]);
    if (wrong?.includes('data checksums are not enabled') === true) return none;
    return wrong === undefined
      ? { outcome: 'ok', detail: 'every page has the checksum that it should have' }
      : { outcome: 'failed', detail: wrong };
  });
}

async function programOf(drilling: Drilling, name: string): Promise<string | undefined> {
  const major = Math.floor(drilling.backup.manifest.server.versionNum / 10_000);
  return (await drilling.findTools([name])).find((tool) => tool.major === major)?.path;
}

/** What a program found, which it tells by ending with 1; undefined: nothing. */
async function findingsOf(
  { signal }: Drilling,
  program: string,
  args: string[],
): Promise<string | undefined> {
  const child = startChild(program, args, { env: { LC_ALL: 'C' }, signal });
  const words = text(child.process.stdout as Readable);
  words.catch(() => undefined);
  try {
    await child.finished;
    return undefined;
  } catch (error) {
    if (!(error instanceof DbopsError) || !error.message.endsWith('with exit code 1')) throw error;
    return [error.detail ?? '', (await words).trim()].join('\n').trim().slice(0, mostWords);
  }
}
