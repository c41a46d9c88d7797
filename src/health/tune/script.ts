import { humanBytes } from '../../output/human.ts';
import type { Comparison, FigureSource, KnownMachine } from './machine.ts';

/** What the script rests on and nobody said. Pure. */
export function storageWarnings({ storage, storageFrom }: KnownMachine): string[] {
  if (storage === null) return ['what the data lies on is not known: give --storage ssd or hdd'];
  return storage === 'hdd' && storageFrom === 'this host'
    ? [
        'Linux says that the disk rotates, which virtual ones often claim: give --storage ssd where it does not',
      ]
    : [];
}

const sources: Record<FigureSource, string> = {
  given: 'as given',
  'this host': 'of this host',
  'control group': 'the limit of its control group',
};

/** What to set, for psql: all that differs, with its reason; nothing of it is run by us. Pure. */
export function tuningScript(machine: KnownMachine, comparisons: Comparison[]): string {
  const { memoryBytes, memoryFrom, cpus, cpusFrom, storage, connections } = machine;
  const wrong = comparisons.filter(({ fits }) => !fits);
  const right = comparisons.filter(({ fits }) => fits);
  const lines = [
    `-- for ${humanBytes(memoryBytes)} of memory (${sources[memoryFrom]}), ${String(cpus)} cores (${sources[cpusFrom]}), ${storage ?? 'unknown storage'}, ${String(connections)} sessions`,
    ...wrong.flatMap(linesOf),
    ...(right.length === 0
      ? []
      : ['', `-- near enough: ${right.map(({ name, current }) => `${name} ${current.shown}`).join(', ')}`]),
    ...(wrong.length === 0 ? [] : ['', 'select pg_reload_conf();']),
  ];
  if (wrong.some(({ current }) => current.needsRestart))
    lines.push('-- then restart the server for the lines that say so');
  return lines.join('\n');
}

function linesOf({ name, written, reason, source, current }: Comparison): string[] {
  const overridden = ['command line', 'environment variable'].includes(current.source)
    ? [`-- set by ${current.source} now, which ALTER SYSTEM does not override`]
    : [];
  return [
    '',
    `-- ${name} is ${current.shown}: ${reason}`,
    `-- source: ${source}${current.needsRestart ? '; takes a restart' : ''}`,
    ...overridden,
    `alter system set ${name} = '${written}';`,
  ];
}
