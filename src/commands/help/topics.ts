import { environmentVariables } from '../../config/environment.ts';
import { exitCodeMeanings } from '../../errors.ts';
import { renderTable } from '../../output/table.ts';
import { exampleConfiguration } from './example-configuration.ts';

export interface Topic {
  name: string;
  data: () => unknown;
  text: () => Promise<string>;
}

/** What these two end with is part of how PostgreSQL calls them, so the table of all others does not hold for them. */
const ownExitCodes: [command: string, code: string, meaning: string][] = [
  [
    'wal push',
    '0',
    'the file is durable in as many stores as wal.required, or was there with the same content',
  ],
  ['wal push', '1', 'anything else: PostgreSQL keeps the file and asks again'],
  ['wal fetch', '0', 'the file is there, whole'],
  ['wal fetch', '44', 'every store has answered that it is not there'],
  [
    'wal fetch',
    'other',
    'anything else; the line of "dbops wal commands" makes 255 of it, so that a recovery does not end early',
  ],
];

/** What `dbops help <topic>` knows besides the commands. "help config" is the file; the noun has its own --help. */
export const topics: Topic[] = [
  {
    name: 'exit-codes',
    data: () => [
      ...exitCodeMeanings.map(([code, meaning]) => ({ code, meaning })),
      ...ownExitCodes.map(([command, code, meaning]) => ({ command, code, meaning })),
    ],
    text: async () =>
      `${await renderTable(
        [...exitCodeMeanings],
        [
          { title: 'exit', value: ([code]) => code, align: 'right' },
          { title: 'meaning', value: ([, meaning]) => meaning },
        ],
      )}\n\nThe two that PostgreSQL runs have a contract of their own:\n${await renderTable(ownExitCodes, [
        { title: 'command', value: ([command]) => command },
        { title: 'exit', value: ([, code]) => code, align: 'right' },
        { title: 'meaning', value: ([, , meaning]) => meaning },
      ])}\n\nWith --json an error is one line on stderr: {"error": {"code", "message", "hint", "detail", "exitCode"}}.`,
  },
  {
    name: 'environment',
    data: () => environmentVariables.map(([name, meaning]) => ({ name, meaning })),
    text: async () =>
      `${await renderTable(
        [...environmentVariables],
        [
          { title: 'variable', value: ([name]) => name },
          { title: 'what it does', value: ([, meaning]) => meaning },
        ],
      )}\n\nA flag beats DBOPS_*, which beats DATABASE_URL, PG*, the files and the defaults. A variable that is set to\n` +
      'nothing counts as unset. "dbops config show" prints what came from where.',
  },
  {
    name: 'config',
    data: () => ({ example: exampleConfiguration }),
    text: () => Promise.resolve(exampleConfiguration),
  },
];
