import { join } from 'node:path';
import { inDatabase, type ConnectionSettings } from '../../pg/client.ts';
import { connect } from '../../pg/connection.ts';
import { libpqEnvironment } from '../../pg/libpq.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { ident, literal } from '../../sql/quote.ts';
import { showRun } from '../../sql/restore-database.ts';
import type { Account } from '../../process/account.ts';
import { clusterOwner, makeOwnDirectory } from '../cluster/owner.ts';
import { findClusterPrograms } from '../cluster/programs.ts';
import type { LogicalPart } from '../manifest.ts';
import type { RestoreContext } from '../restore/database/context.ts';
import { restoreDatabase, type DatabaseResult } from '../restore/database/database.ts';
import { readGlobals } from '../restore/database/dump.ts';
import { fetchContext, findPrograms, planDatabase } from '../restore/database/plan.ts';
import { nameBehind, statementsIn } from '../restore/database/script.ts';
import { dropAbandoned, dropWorking, newWorking } from '../restore/database/working.ts';
import type { Drilled, Drilling } from './context.ts';
import { dataName, spoolOf, withDrillDirectory } from './directory.ts';
import { proveContents } from './proofs/contents.ts';
import { proveOwnChecks } from './proofs/own-checks.ts';
import { provePolicies } from './proofs/policies.ts';
import type { Restored } from './proofs/restored.ts';
import { proveIndexes } from './proofs/structure.ts';
import { reasonText, type Proof } from './report.ts';
import { startScratch } from './scratch.ts';

/** A server that a dump can be restored to. */
type Target = Pick<RestoreContext, 'db' | 'openDatabase' | 'connectionTo' | 'workDirectory'>;

/** Extensions that cannot even be created before their library is loaded, and that do nothing by themselves. */
const preloadedExtensions = ['pgaudit', 'timescaledb', 'citus'];

/** Restores a dump on a scratch cluster, or in a database of its own on the server of backup.drill.url, and proves it. */
export async function drillLogical(drilling: Drilling, logical: LogicalPart): Promise<Drilled> {
  const { url } = drilling.settings.backup.drill;
  const { proofs, keptIn } =
    url === undefined ? await onScratch(drilling, logical) : await onServer(drilling, logical, url);
  const recoveredTo = new Date(logical.snapshot.at);
  return {
    server: url === undefined ? 'scratch' : 'url',
    target: null,
    reached: null,
    replayedSegments: null,
    fetchedBytes: drilling.read.bytes,
    recoveredTo,
    ageSeconds: Math.max(0, (drilling.begunAt.getTime() - recoveredTo.getTime()) / 1000),
    proofs,
    keptIn,
  };
}

interface Outcome {
  proofs: Proof[];
  keptIn: string | null;
}

async function onScratch(drilling: Drilling, logical: LogicalPart): Promise<Outcome> {
  const { backup, drill, clock, host, log, signal, keep, findTools } = drilling;
  const major = Math.floor(backup.manifest.server.versionNum / 10_000);
  const programs = await findClusterPrograms(findTools, major, ['postgres', 'initdb']);
  const account = await clusterOwner(drilling.directory, undefined);
  const spool = spoolOf(drilling);
  return await withDrillDirectory(
    { parent: drilling.directory, drill, account, host, keep, log, spool },
    async (directory) => {
      const dataDirectory = join(directory, dataName);
      const libraries = logical.extensions
        .map((item) => item.name)
        .filter((name) => preloadedExtensions.includes(name));
      const server = await clock.time('open', () =>
        startScratch({ programs, dataDirectory, account, signal, libraries }),
      );
      try {
        const db = await server.openDatabase('postgres');
        try {
          const workDirectory = join(directory, 'work');
          await makeOwnDirectory(workDirectory, account);
          const context = restoreContext(drilling, { ...server, db, workDirectory });
          const proofs = await restoreAndProve(drilling, context, logical, async () => {
            await makeTablespaces(drilling, context, logical, { directory, account });
            return 'dbops_drill';
          });
          return { proofs, keptIn: keep ? dataDirectory : null };
        } finally {
          await db.close();
        }
      } finally {
        await server.stop();
      }
    },
  );
}

async function onServer(drilling: Drilling, logical: LogicalPart, url: string): Promise<Outcome> {
  const { settings, backup, signal, log, keep, warnings } = drilling;
  const connection: ConnectionSettings = {
    url,
    connectTimeoutMs: settings.connection.connectTimeoutMs,
    applicationName: 'dbops backup drill',
  };
  const db = await connect(connection, { signal });
  try {
    const { systemIdentifier } = await getServerIdentity(db);
    if (systemIdentifier === backup.manifest.server.systemIdentifier)
      warnings.push(
        '"backup.drill.url" is the very server that the backup is of: that its host is lost was not drilled.',
      );
    const working = newWorking('drill');
    const context = restoreContext(drilling, {
      db,
      openDatabase: (name) => connect(inDatabase(connection, name), { signal }),
      connectionTo: (name) => libpqEnvironment(inDatabase(connection, name)),
      workDirectory: drilling.directory,
    });
    await showRun(db, working.token);
    await dropAbandoned(db, log);
    try {
      const proofs = await restoreAndProve(drilling, context, logical, () => Promise.resolve(working.name));
      return { proofs, keptIn: keep ? await keepDatabase(drilling, context, working.name) : null };
    } finally {
      // Interrupted, it is dropped by the next drill.
      await dropWorking(db, log, working.name);
    }
  } finally {
    await db.close();
  }
}

/** Gives it a name that no run drops. */
async function keepDatabase(drilling: Drilling, context: RestoreContext, name: string): Promise<string> {
  const kept = `drilled_${drilling.drill.toLowerCase().replaceAll('-', '_')}`;
  await context.db.execute(`alter database ${ident(name)} rename to ${ident(kept)}`);
  return `database "${kept}"`;
}

function restoreContext(drilling: Drilling, target: Target): RestoreContext {
  const { log, signal, findTools, jobs } = drilling;
  const { db, openDatabase, connectionTo, workDirectory } = target;
  return {
    log,
    signal,
    findTools,
    jobs,
    db,
    openDatabase,
    connectionTo,
    workDirectory,
    applied: { changes: 0 },
  };
}

/** Those of the source lie on its paths: here each gets a directory below that of the drill. */
async function makeTablespaces(
  drilling: Drilling,
  context: RestoreContext,
  logical: LogicalPart,
  where: { directory: string; account: Account },
): Promise<void> {
  const backup = dumpOf(drilling, logical);
  const major = Math.floor(context.db.server.versionNum / 10_000);
  const programs = await findPrograms(context, backup, major);
  const globals = (await readGlobals(fetchContext(context, programs), backup)) ?? '';
  const names = statementsIn(globals).flatMap(
    (statement) => nameBehind(statement, 'CREATE TABLESPACE') ?? [],
  );
  for (const [index, name] of names.entries()) {
    const location = join(where.directory, 'tablespaces', String(index));
    await makeOwnDirectory(join(where.directory, 'tablespaces'), where.account);
    await makeOwnDirectory(location, where.account);
    await context.db.execute(`create tablespace ${ident(name)} location ${literal(location)}`);
  }
}

function dumpOf({ backup }: Drilling, logical: LogicalPart) {
  return { ...backup, manifest: { ...backup.manifest, logical } };
}

/** A restore that fails is what the drill was for: it becomes a proof, and there is nothing more to look at. */
async function restoreAndProve(
  drilling: Drilling,
  context: RestoreContext,
  logical: LogicalPart,
  prepare: () => Promise<string>,
): Promise<Proof[]> {
  const { clock, backup, settings } = drilling;
  const started = performance.now();
  let result: DatabaseResult;
  try {
    const into = await prepare();
    const wish = { into, confirm: undefined, verify: 'none', partial: false } as const;
    result = await restoreDatabase(context, await planDatabase(context, backup, wish));
  } catch (error) {
    clock.add('fetch', (performance.now() - started) / 1000);
    return [{ name: 'restore', outcome: 'failed', detail: reasonText(error) }];
  }
  clock.add('fetch', result.seconds.fetch);
  clock.add('restore', (performance.now() - started) / 1000 - result.seconds.fetch);
  const [pgAmcheck] = (await context.findTools(['pg_amcheck'])).filter(
    (tool) => tool.major === Math.floor(context.db.server.versionNum / 10_000),
  );
  const restored: Restored = {
    ...context,
    database: result.database,
    databases: [result.database],
    isSuperuser: context.db.server.isSuperuser,
    pgAmcheck: pgAmcheck?.path,
  };
  return await clock.time('verify', async () => [
    { name: 'restore', outcome: 'ok', detail: `${String(result.tables)} tables, without an error` },
    ...(await proveContents(restored, context, logical)),
    await proveIndexes(restored),
    await provePolicies(restored),
    ...(await proveOwnChecks(restored, settings.backup.drill.checks)),
  ]);
}
