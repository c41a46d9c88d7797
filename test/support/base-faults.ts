// What the tests of faults in a base backup share: a site, and programs that fail, lie or are slow.
import fs from 'node:fs';
import path from 'node:path';
import { replacePrograms, startSite, type PhysicalSite, type ReplacedPrograms } from './physical.ts';

/** Makes a base backup. */
export const createBase = ['backup', 'create', '--kind', 'base'];

export interface FaultSite {
  site: PhysicalSite;
  programs: ReplacedPrograms;
  /** Gives the programs back their own ways, and empties the store of backups. */
  startAfresh: () => void;
}

/** Starts the site; it is stopped after the tests of the file. */
export async function startFaultSite(): Promise<FaultSite> {
  const site = await startSite();
  const programs = replacePrograms(site);
  const startAfresh = () => {
    programs.replace('pg_basebackup', undefined);
    programs.replace('zstd', undefined);
    programs.remove('pzstd');
    fs.rmSync(path.join(site.store, site.systemIdentifier, 'backup'), { recursive: true, force: true });
  };
  return { site, programs, startAfresh };
}
