// Every command that the README and the handbook show is run, in the order of the text.
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openExampleShell, shownCommands, withRealIds } from '../support/examples.ts';

const projectRoot = path.resolve(import.meta.dirname, '..', '..');
const documents = [
  'README.md',
  ...fs
    .readdirSync(path.join(projectRoot, 'docs'))
    // Its lines are run where there is a disaster.
    .filter((name) => name.endsWith('.md') && name !== 'disaster-recovery.md')
    .map((name) => `docs/${name}`),
];

const sample = `
$ dbops not in a block

\`\`\`sh
$ dbops in another block
\`\`\`

1. In a list:

   \`\`\`console
   $ dbops partition plan
   table  interval
   $ dbops partition check --fail-on warn   # exits 6
   $ psql -c 'select 1'
   $ dbops partition attach public.loaded \\
       --to public.llm_calls
   \`\`\`
`;

describe('the commands of a text', () => {
  it('are the lines with a prompt in console blocks', () => {
    expect(shownCommands(sample)).toEqual([
      { line: 'dbops partition plan', exits: 0, at: 11 },
      { line: 'dbops partition check --fail-on warn', exits: 6, at: 13 },
      { line: 'dbops partition attach public.loaded --to public.llm_calls', exits: 0, at: 15 },
    ]);
  });

  it.each(['dbops completion bash > /etc/bash_completion.d/dbops', 'dbops config schema > ~/schema.json'])(
    'may not write anywhere: %s',
    (line) => {
      expect(() => shownCommands(`\`\`\`console\n$ ${line}\n\`\`\``)).toThrow('line 2 must not be run');
    },
  );
});

const withCommands = documents.filter((document) => commandsOf(document).length > 0);

describe.each(withCommands)('%s', (document) => {
  const commands = commandsOf(document);

  it(`shows ${commands.length} commands that work`, async () => {
    const shell = await openExampleShell();
    for (const { line, exits, at } of commands) {
      const { code, stdout, stderr } = await shell.run(await withRealIds(shell, line));
      expect(code, `${document}:${at} $ ${line}\n${stdout}${stderr}`).toBe(exits);
    }
  });
});

it('the README shows commands', () => {
  expect(commandsOf('README.md').length).toBeGreaterThan(5);
});

function commandsOf(document: string): ReturnType<typeof shownCommands> {
  return shownCommands(fs.readFileSync(path.join(projectRoot, document), 'utf8'));
}
