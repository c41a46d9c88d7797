import { chown, mkdir, readdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ownAccount, type Account } from '../../../process/account.ts';
import { startChild } from '../../../process/child.ts';
import { startPipeline } from '../../../process/pipeline.ts';
import { inParallel } from '../../../process/parallel.ts';
import { makeOwnDirectory } from '../../cluster/owner.ts';
import { fetchFiles, withStored, type FetchContext } from '../../fetch.ts';
import type { PhysicalBackup } from './candidates.ts';
import type { Runner } from './context.ts';
import { clearDirectory } from './directory.ts';
import type { MappedTablespace } from './tablespaces.ts';

export interface FillContext extends FetchContext, Runner {
  jobs: number;
}

/** Where the links of a chain are put together, inside of the directory that they become. */
const workName = '.dbops-restore';

/**
 * Fills the data directory and its tablespaces from a backup and all that it builds on, oldest first. The directories are
 * there, belong to their owner, and hold nothing but a marker. Hashes are compared on the way. Throws copy_damaged when no
 * copy of a file is good, tool_failed.
 */
export async function fillDirectory(
  context: FillContext,
  chain: PhysicalBackup[],
  dataDirectory: string,
  tablespaces: MappedTablespace[],
): Promise<void> {
  const [base] = chain;
  if (base === undefined) throw new Error('a restore of no backup');
  if (chain.length === 1) {
    const places = tablespaces.map(({ file, to }) => ({ file, to }));
    await extractAll(context, base, [{ file: base.physical.baseFile, to: dataDirectory }, ...places]);
  } else {
    await combine(context, chain, dataDirectory, tablespaces);
  }
  for (const { oid, to } of tablespaces) {
    const link = join(dataDirectory, 'pg_tblspc', oid);
    await rm(link, { force: true });
    await symlink(to, link);
  }
}

async function extractAll(
  context: FillContext,
  backup: PhysicalBackup,
  places: { file: string; to: string }[],
): Promise<void> {
  await inParallel(context.jobs, places, context.signal, async ({ file, to }, signal) => {
    await extract({ ...context, signal }, backup, file, to);
  });
}

/** Unpacks one tar as the owner of the directory: zstd and tar are joined by a kernel pipe. */
async function extract(
  context: FillContext,
  backup: PhysicalBackup,
  file: string,
  to: string,
): Promise<void> {
  const { account, programs, signal } = context;
  await withStored(context, backup, file, async ({ path, pass }) => {
    // What a damaged copy has left goes before the next one is tried.
    await clearDirectory(to);
    // Another user than ours may not be able to read the store.
    const own = isOurs(account) ? path : undefined;
    const run = startPipeline(
      [
        { path: programs.zstd, args: ['-q', '-dc', ...(own === undefined ? [] : ['--', own])] },
        { path: programs.tar, args: ['-x', '-p', '--no-same-owner', '-f', '-', '-C', to] },
      ],
      { account, cwd: to, signal, isFed: own === undefined, isSilent: true },
    );
    try {
      await pass(own === undefined ? run.input : undefined);
      await run.finished;
    } catch (error) {
      run.stop();
      await run.finished.catch(() => undefined);
      throw error;
    }
  });
}

function isOurs(account: Account): boolean {
  return account.uid === ownAccount().uid;
}

/** Puts a chain of incremental backups together. pg_combinebackup trusts what it is given: each link is verified before. */
async function combine(
  context: FillContext,
  chain: PhysicalBackup[],
  dataDirectory: string,
  tablespaces: MappedTablespace[],
): Promise<void> {
  const { account, programs, signal } = context;
  const work = join(dataDirectory, workName);
  await makeOwnDirectory(work, account);
  const links: string[] = [];
  for (const [index, backup] of chain.entries()) {
    const link = join(work, String(index));
    await unpackLink(context, backup, link);
    await run(context, programs.pgVerifybackup, ['-q', '-n', link], work);
    links.push(link);
  }
  const last = links.length - 1;
  const mappings = tablespaces.flatMap(({ oid, to }) => [
    '-T',
    `${escaped(tablespaceOf(work, last, oid))}=${escaped(join(to, workName))}`,
  ]);
  const made = join(work, 'made');
  // The server syncs everything when it starts on a backup (SyncDataDirectory).
  await run(context, programs.pgCombinebackup, ['-N', ...mappings, '-o', made, ...links], work);
  for (const [from, to] of [
    [made, dataDirectory],
    ...tablespaces.map((item) => [join(item.to, workName), item.to]),
  ] as [string, string][]) {
    for (const name of await readdir(from)) await rename(join(from, name), join(to, name));
    if (from !== made) await rm(from, { recursive: true });
  }
  await rm(work, { recursive: true });
  signal.throwIfAborted();
}

async function unpackLink(context: FillContext, backup: PhysicalBackup, link: string): Promise<void> {
  const { account } = context;
  const work = join(link, '..');
  const index = Number(link.slice(work.length + 1));
  await makeOwnDirectory(link, account);
  const places = backup.physical.tablespaces.map(({ oid, file }) => ({
    oid,
    file,
    to: tablespaceOf(work, index, oid),
  }));
  for (const { to } of places) await makeOwnDirectory(to, account);
  await extractAll(context, backup, [{ file: backup.physical.baseFile, to: link }, ...places]);
  for (const { oid, to } of places) {
    await mkdir(join(link, 'pg_tblspc'), { recursive: true });
    await rm(join(link, 'pg_tblspc', oid), { force: true });
    await symlink(to, join(link, 'pg_tblspc', oid));
  }
  const manifest = { name: backup.physical.manifestFile, path: join(link, 'backup_manifest'), plain: false };
  await fetchFiles({ ...context, zstd: context.programs.zstd }, backup, [manifest]);
  // It was written as ourselves.
  if (!isOurs(account)) await chown(manifest.path, account.uid, account.gid);
}

function tablespaceOf(work: string, index: number, oid: string): string {
  return join(work, `tablespace-${String(index)}-${oid}`);
}

/** As pg_combinebackup reads it. */
function escaped(path: string): string {
  return path.replaceAll('=', '\\=');
}

async function run(
  context: FillContext,
  path: string | undefined,
  args: string[],
  cwd: string,
): Promise<void> {
  if (path === undefined) throw new Error('a program that was not looked for');
  const child = startChild(path, args, {
    account: context.account,
    cwd,
    env: { LC_ALL: 'C' },
    signal: context.signal,
  });
  child.process.stdout?.resume();
  await child.finished;
}
