import { nearest } from '../../config/nearest.ts';
import { DbopsError } from '../../errors.ts';
import { defineCommand, type Result } from '../command.ts';
import { commands, nouns } from '../index.ts';
import { topics } from './topics.ts';

/** Topics only: cli.ts turns "help <command>" into "<command> --help" before this is reached. */
export const command = defineCommand({
  changes: false,
  needsSettings: false,
  examples: [
    { command: 'dbops help', about: 'what there is' },
    { command: 'dbops help partition ensure', about: 'one command' },
    { command: 'dbops help exit-codes', about: 'what an exit code means' },
    { command: 'dbops help environment', about: 'the variables that are obeyed' },
    { command: 'dbops help config', about: 'a commented dbops.yaml' },
  ],
  declare(cmd) {
    cmd.argument('[topic...]', 'exit-codes, environment, config, or a command');
  },
  run({ args }): Promise<Result> {
    const name = args.join(' ');
    const topic = topics.find((item) => item.name === name);
    if (topic === undefined) throw unknownTopic(name);
    return Promise.resolve({ data: topic.data(), text: topic.text() });
  },
});

function unknownTopic(name: string): DbopsError {
  const known = [
    ...topics.map((item) => item.name),
    ...Object.keys(nouns),
    ...commands.map((entry) => (entry.noun === null ? entry.verb : `${entry.noun} ${entry.verb}`)),
  ];
  const guess = nearest(name, known);
  return new DbopsError('usage', `there is no help about "${name}"`, {
    hint:
      guess === undefined
        ? `Topics are ${topics.map((item) => item.name).join(', ')}, and every command.`
        : `Did you mean "dbops help ${guess}"?`,
  });
}
