import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { runDbops, runProgram } from '../support/cli.ts';

let bash: string;

beforeAll(async () => {
  const { code, stdout, stderr } = await runDbops(['completion', 'bash']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  bash = stdout;
});

/** What bash offers for a line that ends in the word being typed. */
async function complete(line: string, cwd?: string): Promise<string[]> {
  const words = line.split(' ');
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const script = `${bash}\nCOMP_WORDS=(${quoted}); COMP_CWORD=${String(words.length - 1)}\n_dbops dbops\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
  const { code, stdout, stderr } = await runProgram(['bash', '--norc', '-c', script], {
    ...(cwd === undefined ? {} : { cwd }),
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.split('\n').filter((word) => word !== '');
}

describe('completion in bash', () => {
  it('offers nouns, verbs and flags', async () => {
    expect(await complete('dbops part')).toEqual(['partition']);
    expect(await complete('dbops ')).toEqual(
      expect.arrayContaining(['partition', 'config', 'help', 'history']),
    );
    expect(await complete('dbops partition en')).toEqual(['ensure']);
    expect(await complete('dbops partition ensure --dry')).toEqual(['--dry-run']);
    expect(await complete('dbops partition ensure public.a --fill')).toEqual(['--fill-gaps']);
    expect(await complete('dbops help exit')).toEqual(['exit-codes']);
    expect((await complete('dbops completion ')).slice(0, 3)).toEqual(['bash', 'zsh', 'fish']);
  });

  it('does not take the value of a flag for a command, and offers nothing for one', async () => {
    expect(await complete('dbops partition --wait config en')).toEqual(['ensure']);
    expect(await complete('dbops partition ensure --url ')).toEqual([]);
    expect(await complete('dbops nonsense ')).toEqual([]);
  });

  it('offers files behind --config, also with blanks in their names', async () => {
    const cwd = fs.mkdtempSync(path.join(process.env['TMPDIR'] ?? '/tmp', 'dbops-completion-'));
    try {
      fs.writeFileSync(path.join(cwd, 'my file.yaml'), '');
      fs.writeFileSync(path.join(cwd, 'other.yaml'), '');
      expect(await complete('dbops partition ensure --config my', cwd)).toEqual(['my file.yaml']);
    } finally {
      fs.rmSync(cwd, { recursive: true, force: true });
    }
  });

  it('leaves the settings of the shell alone', async () => {
    const script = `${bash}\nCOMP_WORDS=(dbops partition ensure --config ''); COMP_CWORD=4; _dbops; printf '%q' "$IFS"`;
    const { stdout } = await runProgram(['bash', '--norc', '-c', script]);
    expect(stdout).toBe("$' \\t\\n'");
  });
});

describe.each(['zsh', 'fish'])('the script for %s', (shell) => {
  it('names every command', async () => {
    const { code, stdout } = await runDbops(['completion', shell]);
    expect(code).toBe(0);
    for (const word of ['partition ensure', 'config show', 'dry-run', 'exit-codes'])
      expect(stdout).toContain(word);
  });

  it('is accepted by the shell', async ({ skip }) => {
    skip(spawnSync(shell, ['--version']).status !== 0, `${shell} is not installed`);
    const { stdout } = await runDbops(['completion', shell]);
    const { code, stderr } = await runProgram([shell, '-n'], { input: stdout });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});
