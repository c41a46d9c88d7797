// What only the process shows of inspect: the watch, its end, and what goes where.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dbopsInTerminal, hasTerminal, runDbops, runProgram, spawnDbops } from '../support/cli.ts';
import { entry } from '../support/program.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { createRole } from '../support/health.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase('inspect');
  await database.query('create table public.orders (id int primary key)');
});
afterAll(() => database.drop());

describe('inspect', () => {
  it('shows a table, a document, and on stderr what the role may not see', async () => {
    const role = await createRole(database);
    const { code, stdout, stderr } = await runDbops(['inspect', 'connections', '--url', role.url]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^database +role +application +from +sessions/);
    expect(stderr).toContain(`grant pg_read_all_stats to ${role.name};`);
    const json = await runDbops(['inspect', 'sizes', '--json', '--url', database.url]);
    expect(JSON.parse(json.stdout)).toMatchObject({
      command: 'inspect sizes',
      data: { rows: [{ name: 'orders' }] },
    });
    const slow = await runDbops(['inspect', 'slow', '--url', database.url]);
    expect(slow.code).toBe(6);
    expect(slow.stdout).toContain('create extension pg_stat_statements;');
    for (const args of [
      ['--watch', '0'],
      ['--watch', '86401'],
      ['--watch', '--json'],
      ['--limit', 'x'],
    ])
      expect((await runDbops(['inspect', 'locks', ...args, '--url', database.url])).code).toBe(2);
  });

  it('watches over one session, prints again, and ends at once on Ctrl-C', async () => {
    const begun = performance.now();
    const { code, stdout, stderr } = await runDbops(
      ['inspect', 'locks', '--watch', '1', '--url', database.url],
      {
        signalAfter: { output: /nobody waits[^]*nobody waits/ },
      },
    );
    expect({ code, stderr }).toEqual({ code: 130, stderr: '' });
    expect(stdout).not.toContain('\u001b');
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  it('goes on over a session of its own when the first is lost', async () => {
    const role = await createRole(database);
    const running = spawnDbops(['inspect', 'locks', '--watch', '1', '--url', role.url]);
    await running.waitFor(/nobody waits/);
    await database.query('select pg_terminate_backend(pid) from pg_stat_activity where usename = $1', [
      role.name,
    ]);
    await running.waitFor(/was lost[^]*trying again[^]*nobody waits/);
    running.kill('SIGINT');
    const { code, stderr } = await running.done;
    expect({ code, stderr }).toEqual({ code: 130, stderr: '' });
  });

  it('ends when its reader has gone', async () => {
    const line = `"${process.execPath}" "${entry}" inspect sizes --watch 1 --url "${database.url}" | head -n 2`;
    const { code, stderr } = await runProgram(['bash', '-c', line]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it.runIf(hasTerminal())('draws anew on a terminal', async () => {
    const { code, output } = await dbopsInTerminal(['inspect', 'locks', '--watch', '--url', database.url], {
      answers: [{ when: /nobody waits/, type: '\x03' }],
    });
    expect(code).toBe(130);
    // Nothing that stood on the terminal before is wiped away.
    expect(output).toContain('\u001b[J');
    for (const wipe of ['\u001b[2J', '\u001b[3J']) expect(output).not.toContain(wipe);
  });
});
