import { Option } from 'commander';
import { parseSize } from '../config/size.ts';
import { DbopsError } from '../errors.ts';
import { compareSettings } from '../health/tune/machine.ts';
import { storageWarnings, tuningScript } from '../health/tune/script.ts';
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
    'here, or from the limits of its container; the first line says which. The formulas are a start for a server of its own;\n' +
    'what is within a quarter of them is left alone.',
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
    const data = { machine, settings: comparisons };
    return { data, text: tuningScript(machine, comparisons), warnings: storageWarnings(machine) };
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
