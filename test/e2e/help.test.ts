import { describe, expect, it } from 'vitest';
import { commands, nouns } from '../../src/commands/index.ts';
import { environmentVariables } from '../../src/config/environment.ts';
import { errorCodes } from '../../src/errors.ts';
import { runDbops } from '../support/cli.ts';

describe('help', () => {
  it('is what dbops alone prints, on stdout', async () => {
    const alone = await runDbops([]);
    expect(alone).toMatchObject({ code: 0, stderr: '' });
    expect(alone.stdout).toMatch(/^Examples:\n/);
    for (const entry of commands) expect(alone.stdout).toContain(entry.noun ?? entry.verb);
    for (const args of [['help'], ['--help'], ['-h']]) expect(await runDbops(args)).toEqual(alone);
  });

  it('of each command begins with examples of that command', async () => {
    for (const { noun, verb, summary } of commands) {
      // "help --help" is the whole help.
      if (verb === 'help') continue;
      const words = [...(noun === null ? [] : [noun]), verb];
      const { code, stdout, stderr } = await runDbops([...words, '--help']);
      expect({ code, stderr, words }).toEqual({ code: 0, stderr: '', words });
      expect(stdout).toMatch(/^Examples:\n/);
      expect(stdout.slice(0, stdout.indexOf('Usage:'))).toContain(`dbops ${words.join(' ')}`);
      expect(stdout.replaceAll(/\s+/g, ' ').toLowerCase()).toContain(summary.toLowerCase());
      expect((await runDbops(['help', ...words])).stdout).toBe(stdout);
    }
  });

  it('lists every exit code and every variable', async () => {
    const codes = (await runDbops(['help', 'exit-codes'])).stdout;
    for (const code of new Set(Object.values(errorCodes)))
      expect(codes).toMatch(new RegExp(`^ *${String(code)}  `, 'm'));
    for (const contract of [/wal push +1 /, /wal fetch +44 /]) expect(codes).toMatch(contract);
    const variables = (await runDbops(['help', 'environment'])).stdout;
    for (const [name] of environmentVariables) expect(variables).toContain(name);
  });

  it('works with a broken configuration, and a noun has its own', async () => {
    const env = { DBOPS_CONFIG: '/nowhere' };
    for (const args of [
      ['help', 'config'],
      ['help', 'exit-codes'],
      ['config', 'schema'],
      ['completion', 'bash'],
    ]) {
      expect(await runDbops(args, { env })).toMatchObject({ code: 0, stderr: '' });
    }
    for (const noun of Object.keys(nouns))
      expect((await runDbops(['help', noun, '--help'])).stdout).toMatch(/\S/);
  });

  it.each([
    [['help', 'exit-cods'], 'there is no help about "exit-cods"', 'Did you mean "dbops help exit-codes"?'],
    [['partitio'], "unknown command 'partitio'", 'Did you mean partition?'],
    [['partition', 'ensur'], "unknown command 'ensur'", 'Did you mean ensure?'],
    [['partition', 'ensure', '--dryrun'], "unknown option '--dryrun'", 'Did you mean --dry-run?'],
    [['qqqqqqqq'], "unknown command 'qqqqqqqq'", '"dbops --help" shows what there is.'],
    [
      ['config', 'show', 'this'],
      "too many arguments for 'show'. Expected 0 arguments but got 1",
      '"dbops config show --help" shows what there is.',
    ],
    [
      ['--config', 'x', 'config', 'show'],
      "unknown option '--config'",
      'Flags go behind the command: dbops partition ensure --config dbops.yaml.',
    ],
  ])('of %j: exit 2, and the nearest on stderr', async (args, message, hint) => {
    expect(await runDbops(args)).toEqual({
      code: 2,
      signal: null,
      stdout: '',
      stderr: `dbops: ${message}\nhint: ${hint}\n`,
    });
    const { stdout, stderr } = await runDbops([...args, '--json']);
    expect(stdout).toBe('');
    expect(JSON.parse(stderr)).toEqual({ error: { code: 'usage', message, hint, exitCode: 2 } });
  });

  it('of a noun without a verb goes to stderr with exit 2: it is an empty variable in a script', async () => {
    const { code, stdout, stderr } = await runDbops(['partition']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('ensure');
  });
});
