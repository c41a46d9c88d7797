import type { Settings } from '../config/settings.ts';
import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import { findTools } from '../process/tools.ts';
import { getSessionFacts } from '../sql/doctor.ts';
import { backupTools, checkCluster, checkPlaces, judgeBackupTools, wantsBackups } from './backups.ts';
import { finding, type Finding } from './finding.ts';
import { checkHost, clientTools } from './host.ts';
import { checkServer } from './server.ts';
import { checkExtensions, checkSets } from './sets.ts';
import { checkStores } from './stores.ts';

export interface DoctorOptions {
  settings: Settings;
  /** The PATH. */
  searchPath: string;
  nodeVersion: string;
  connect: () => Promise<Db>;
  signal?: AbortSignal | undefined;
}

export interface Diagnosis {
  findings: Finding[];
  /** Why the server could not be asked. */
  connectionError: DbopsError | undefined;
}

/**
 * Looks at the host, at the stores and, where it can be reached, at the server. Changes nothing there; in each store a
 * test object is written and deleted.
 */
export async function diagnose(options: DoctorOptions): Promise<Diagnosis> {
  const { settings } = options;
  const hasBackups = wantsBackups(settings);
  const names = [...new Set([...clientTools, ...(hasBackups ? backupTools : [])])];
  const tools = findTools(names, options.searchPath);
  let connectionError: DbopsError | undefined;
  let serverMajor: number | undefined;
  const server: Finding[] = [];
  try {
    const db = await options.connect();
    serverMajor = Math.floor(db.server.versionNum / 10_000);
    server.push(...(await checkServer(db, settings, await getSessionFacts(db, settings.stateSchema))));
    server.push(...(await checkExtensions(db, settings)), ...(await checkSets(db, settings)));
    if (hasBackups) server.push(...(await checkCluster(db, settings)));
  } catch (error) {
    const isUnreachable =
      error instanceof DbopsError && (error.exitCode === 3 || error.code === 'unsupported_version');
    if (!isUnreachable) throw error;
    connectionError = error;
    server.push(finding('server.connection', 'crit', error.message, error.hint));
  }
  const host = checkHost(settings, options.nodeVersion, await tools, serverMajor);
  const backups = hasBackups
    ? [
        ...judgeBackupTools(await tools, serverMajor, settings.backup.pgbackrest !== undefined),
        ...(await checkPlaces(settings)),
      ]
    : [];
  const stores = await checkStores(settings, new Date(), options.signal);
  return { findings: [...host, ...backups, ...server, ...stores], connectionError };
}
