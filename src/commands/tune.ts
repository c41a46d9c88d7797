import { Option } from 'commander';
import { parseSize } from '../config/size.ts';
import { DbopsError } from '../errors.ts';
import { compareSettings, type Comparison } from '../health/tune/machine.ts';
import type { Machine } from '../health/tune/recommend.ts';
import { humanBytes } from '../output/human.ts';
import { defineCommand, type Result } from './command.ts';
import { countOption } from './options.ts';

interface Options {
  memory?: string;
  cpus?: string;
  storage?: 'ssd' | 'hdd';
  connections?: string;
}

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops tune --memory 16GB --cpus 4 --storage ssd', about: 'what to set, as a psql script' },
    {
      command: 'dbops tune --memory 16GB --cpus 4 --connections 50',
      about: 'for fewer sessions at a time than max_connections',
    },
  ],
  notes:
    'Changes nothing: read the lines and run those you want. What is not given is read from this host where the server runs\n' +
    'here. The formulas are a start for a server of its own; what is within a quarter of them is left alone.',
  declare(cmd) {
    cmd.option('--memory <size>', 'memory of the server, e.g. 16GB');
    cmd.option('--cpus <count>', 'cores of the server');
    cmd.addOption(new Option('--storage <kind>', 'what its data lies on').choices(['ssd', 'hdd']));
    cmd.option('--connections <count>', 'sessions that work at the same time; default max_connections');
  },
  async run({ options, connect }): Promise<Result> {
    const given = {
      memoryBytes: sizeOption(options.memory),
      cpus: options.cpus === undefined ? undefined : countOption('--cpus', options.cpus),
      storage: options.storage,
      connections:
        options.connections === undefined ? undefined : countOption('--connections', options.connections),
    };
    const { machine, comparisons } = await compareSettings(await connect(), given);
    const warnings =
      machine.storage === null ? ['what the data lies on is not known: give --storage ssd or hdd'] : [];
    return { data: { machine, settings: comparisons }, text: script(machine, comparisons), warnings };
  },
});

function sizeOption(text: string | undefined): number | undefined {
  const bytes = text === undefined ? undefined : parseSize(text);
  if (text !== undefined && (bytes === undefined || bytes < 2 ** 27))
    throw new DbopsError('usage', `--memory is a size of at least 128MB, not "${text}"`, {
      hint: 'Write it as 16GB.',
    });
  return bytes;
}

function script({ memoryBytes, cpus, storage, connections }: Machine, comparisons: Comparison[]): string {
  const wrong = comparisons.filter(({ fits }) => !fits);
  const right = comparisons.filter(({ fits }) => fits);
  const lines = [
    `-- for ${humanBytes(memoryBytes)} of memory, ${String(cpus)} cores, ${storage ?? 'unknown storage'}, ${String(connections)} sessions`,
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
