import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { bodyOf, runPipeline, startPipeline, type Program } from '../../../src/process/pipeline.ts';
import { spawnProgram } from '../../support/cli.ts';
import { waitUntil } from '../../support/database.ts';

const sh = (script: string, ...args: string[]): Program => ({
  path: 'sh',
  args: ['-c', script, 'sh', ...args],
});

/** Processes whose command line holds a word. */
async function running(word: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && name !== String(process.pid));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return line.includes(word) ? [Number(pid)] : [];
    }),
  );
  return found.flat();
}

const unique = (name: string) => `${name}-${String(process.pid)}-${String(Date.now())}`;

it('hands bytes from one program to the next, arguments as they are', async () => {
  const hostile = `a "b" 'c' $HOME \`id\`; echo no\n*`;
  const output = await runPipeline([
    { path: 'printf', args: ['%s', hostile] },
    { path: 'cat', args: [] },
  ]);
  expect(output.toString()).toBe(hostile);
});

it('feeds the first program', async () => {
  const pipeline = startPipeline(
    [
      { path: 'cat', args: [] },
      { path: 'wc', args: ['-c'] },
    ],
    { isFed: true },
  );
  pipeline.input.end(Buffer.alloc(300_000, 1));
  expect((await text(pipeline.output)).trim()).toBe('300000');
  await pipeline.finished;
});

it('keeps what nobody reads before the programs have ended', async () => {
  const pipeline = startPipeline([{ path: 'echo', args: ['small'] }]);
  await pipeline.finished;
  expect(await text(pipeline.output)).toBe('small\n');
});

it('copies what passes to a side, and goes on when that has seen enough', async () => {
  const pipeline = startPipeline([
    {
      path: 'seq',
      args: ['1', '200000'],
      side: [
        { path: 'head', args: ['-n', '2'] },
        { path: 'cat', args: [] },
      ],
    },
    { path: 'tail', args: ['-n', '1'], side: [{ path: 'wc', args: ['-l'] }] },
  ]);
  const [output, first, second] = await Promise.all([pipeline.output, ...pipeline.sides].map(text));
  await pipeline.finished;
  expect([output, first, second?.trim()]).toEqual(['200000\n', '1\n2\n', '1']);
});

it('names the program that failed first, with its words, and never ends the body', async () => {
  const cases: [Program[], string][] = [
    [[sh('seq 1 100; echo it broke >&2; exit 3'), { path: 'cat', args: [] }], 'sh ended with exit code 3'],
    [[{ path: 'yes', args: [] }, sh('head -c 9; echo it broke >&2; exit 4')], 'sh ended with exit code 4'],
    [[sh('echo it broke >&2; kill -9 $$'), { path: 'cat', args: [] }], 'sh was ended by SIGKILL'],
  ];
  for (const [programs, message] of cases) {
    const body = bodyOf(startPipeline(programs));
    const read = async () => {
      for await (const chunk of body) expect(chunk.length).toBeGreaterThan(0);
    };
    await expect(read()).rejects.toMatchObject({
      code: 'tool_failed',
      message,
      detail: expect.stringContaining('it broke') as string,
    });
  }
});

it('fails with a side that fails, though the rest waits', async () => {
  const word = unique('waits');
  const pipeline = startPipeline([
    { ...sh('echo x; sleep 600; : "$1"', word), side: [sh('echo no tar >&2; exit 2')] },
    { path: 'cat', args: [] },
  ]);
  await expect(pipeline.finished).rejects.toMatchObject({
    message: 'sh ended with exit code 2',
    detail: 'no tar',
  });
  expect(await running(word)).toEqual([]);
});

it('says which program is missing', async () => {
  await expect(runPipeline([{ path: '/nowhere/pg_dump', args: [] }])).rejects.toMatchObject({
    message: 'pg_dump cannot be started',
  });
});

it('takes a warning on stderr for what it is, and tells the lines', async () => {
  const lines: string[] = [];
  await runPipeline([sh('echo one >&2; echo two >&2')], { onLine: (line) => lines.push(line) > 0 });
  expect(lines).toEqual(['one', 'two']);
});

it('ends all of them when it is interrupted, also one that waits or takes no SIGTERM', async () => {
  const word = unique('stubborn');
  const abort = new AbortController();
  const pipeline = startPipeline(
    [sh(`trap '' TERM; while :; do sleep 0.1; done; : "$1"`, word), sh('sleep 600; : "$1"', word)],
    { signal: abort.signal },
  );
  await waitUntil(async () => (await running(word)).length >= 3, { what: 'the programs' });
  abort.abort('SIGINT');
  await expect(pipeline.finished).rejects.toMatchObject({ code: 'interrupted' });
  expect(await running(word)).toEqual([]);
});

it('leaves no program behind when dbops is killed', async () => {
  const word = unique('orphan');
  const file = path.join(await mkdtemp(path.join(os.tmpdir(), 'dbops-orphan-')), 'parent.mjs');
  await build({
    stdin: {
      contents: `import { startPipeline } from './pipeline.ts';
        startPipeline([{ path: 'sh', args: ['-c', 'sleep 600; : "$1"', 'sh', process.argv[2]] }]);
        console.log('ready')`,
      resolveDir: new URL('../../../src/process', import.meta.url).pathname,
    },
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: file,
  });
  const parent = spawnProgram([process.execPath, file, word]);
  await parent.waitFor(/ready/);
  await waitUntil(async () => (await running(word)).length >= 3, { what: 'the program' });
  parent.kill('SIGKILL');
  await parent.done;
  await waitUntil(async () => (await running(word)).length === 0, { what: 'their end' });
  await rm(path.dirname(file), { recursive: true });
});

it('leaves nothing behind that would hold up the end of dbops when it is stopped after its end', async () => {
  const pipeline = startPipeline([sh('true')]);
  await pipeline.finished;
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  pipeline.stop();
  expect(timers()).toBe(before);
});
