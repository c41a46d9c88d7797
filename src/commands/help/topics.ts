import { environmentVariables } from '../../config/environment.ts';
import { exitCodeMeanings } from '../../errors.ts';
import { renderTable } from '../../output/table.ts';
import { exampleConfiguration } from './example-configuration.ts';

export interface Topic {
  name: string;
  data: () => unknown;
  text: () => Promise<string>;
}

/** What `dbops help <topic>` knows besides the commands. "help config" is the file; the noun has its own --help. */
export const topics: Topic[] = [
  {
    name: 'exit-codes',
    data: () => exitCodeMeanings.map(([code, meaning]) => ({ code, meaning })),
    text: async () =>
      `${await renderTable(
        [...exitCodeMeanings],
        [
          { title: 'exit', value: ([code]) => code, align: 'right' },
          { title: 'meaning', value: ([, meaning]) => meaning },
        ],
      )}\n\nWith --json an error is one line on stderr: {"error": {"code", "message", "hint", "detail", "exitCode"}}.`,
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
