import { isThisHost } from '../../process/this-host.ts';
import { getServerPlaces } from '../../sql/health-disk.ts';
import type { Check, CheckContext, Look } from '../check.ts';
import { compareSettings, type Comparison } from '../tune/machine.ts';

/** A formula is no more exact than that: less than half of what it says, or more than twice. Our own. */
const factor = 2;

export const recommended: Check[] = [
  {
    id: 'settings.recommended',
    group: 'settings',
    answers: 'which settings are far from what the memory, the cores and the disk of the server suggest',
    why: 'PostgreSQL begins with settings for a very small machine. Nothing fails with them: it is only slower than it could be, for years.',
    advice:
      'See "dbops tune" for each value with its reason and its source. What was measured to be better here: ignore that object.',
    source: 'the formulas of "dbops tune", each with its own source; a factor of two is our own',
    profiles: ['monthly'],
    asks: 'the settings that "dbops tune" computes, where this host is that of the server',
    look,
  },
];

async function look({ db }: CheckContext): Promise<Look> {
  const { serverAddress } = await getServerPlaces(db);
  if (!(await isThisHost(db.server, serverAddress))) {
    const message = `the server is another host or in a container (${serverAddress ?? 'a socket'}): its memory is not known here`;
    const advice =
      'Ask with what it has: dbops tune --memory 16GB --cpus 4 --storage ssd. Leave it out with "health.skip: [settings.recommended]".';
    return { observations: [{ object: null, value: null, message, advice }], summary: message };
  }
  const { comparisons } = await compareSettings(db, {});
  return {
    observations: comparisons.filter(isFar).map(({ name, written, current, reason }) => ({
      object: name,
      value: null,
      severity: 'warn',
      message: `${name} is ${current.shown}, and ${written} would fit the machine`,
      detail: reason,
      mend: `alter system set ${name} = '${written}'; ${current.needsRestart ? '-- then restart the server' : 'select pg_reload_conf();'}`,
    })),
    summary: `${String(comparisons.length)} settings fit the machine`,
  };
}

function isFar({ value, current }: Comparison): boolean {
  if (current.value === value) return false;
  return current.value <= 0 || Math.max(current.value / value, value / current.value) > factor;
}
