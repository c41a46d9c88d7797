// "backup prune" removes backups from the repository of a real pgBackRest by name, and none that another one needs.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ownDatabase } from '../../support/database.ts';
import { startPgbackrest, whyNoPgbackrest, type PgbackrestSite } from '../../support/pgbackrest.ts';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

const missing = whyNoPgbackrest();

let site: PgbackrestSite;
let work: Workspace;

beforeAll(async () => {
  if (missing !== undefined) return;
  site = await startPgbackrest();
  work = createWorkspace(ownDatabase(site.server), '');
  configure('{ last: 1 }');
});
afterAll(async () => {
  await site?.stop();
});

const store = () => path.join(work.dir, 'store');

function configure(retain: string, yaml = site.yaml): void {
  work.configure(
    `stores:\n  near: { url: "file://${store()}" }\nbackup:\n  retain: { pgbackrest: ${retain} }\n${yaml}`,
  );
}

async function create(type: string): Promise<string> {
  const { code, stdout, stderr } = await work.run([
    ...['backup', 'create', '--kind', 'pgbackrest', '--type', type, '--json'],
  ]);
  expect(code, stderr).toBe(0);
  const { data } = JSON.parse(stdout) as {
    data: { id: string; manifest: { pgbackrest: { label: string } } };
  };
  labels.set(data.id, data.manifest.pgbackrest.label);
  return data.id;
}
const labels = new Map<string, string>();

async function prune(...args: string[]) {
  const { code, stdout, stderr } = await work.run(['backup', 'prune', '--json', ...args]);
  const printed = (code === 0 ? JSON.parse(stdout) : {}) as { data?: unknown };
  return { code, stderr, data: printed.data };
}

const manifests = () =>
  fs
    .readdirSync(store(), { recursive: true, encoding: 'utf8' })
    .flatMap((file) => (file.endsWith('manifest.json') ? [path.basename(path.dirname(file))] : []))
    .sort();
const inRepository = () =>
  (JSON.parse(site.run('info', '--output=json').output) as { backup: { label: string }[] }[])[0]!.backup.map(
    (item) => item.label,
  );

it('removes what no rule keeps, in pgBackRest too, and nothing beside', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const [first, second] = [await create('full'), await create('incr')];
  const third = await create('full');
  configure('{ last: 1 }', '  pgbackrest: { stanza: other }\n');
  const elsewhere = await prune('--dry-run');
  expect(elsewhere.data).toMatchObject({ backups: [{ goesFrom: [] }, { goesFrom: [] }, { goesFrom: [] }] });
  configure('{ last: 1 }');
  const plan = await prune('--dry-run');
  expect(plan.data).toMatchObject({
    backups: [
      { backup: first, goesFrom: ['near'] },
      { backup: second, goesFrom: ['near'] },
      { backup: third, goesFrom: [] },
    ],
  });
  expect(inRepository()).toHaveLength(3);
  const done = await prune();
  expect(done.code, done.stderr).toBe(0);
  expect(manifests()).toEqual([third]);
  expect(inRepository()).toEqual([labels.get(third)]);
});

it('keeps what a backup builds on that pgBackRest made by itself', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const [base = ''] = manifests();
  expect(site.run('backup', '--type=incr', '--no-expire-auto').code).toBe(0);
  const own = inRepository().at(-1)!;
  const newest = await create('full');
  const done = await prune();
  expect(done.code, done.stderr).toBe(0);
  expect(manifests()).toEqual([base, newest]);
  expect(done.data).toMatchObject({
    kept: expect.arrayContaining([
      { backup: base, why: [expect.stringContaining(`${own} builds on it`)] },
    ]) as unknown,
  });
  expect(site.run('expire', `--set=${own}`).code).toBe(0);
  expect((await prune()).code).toBe(0);
  expect(manifests()).toEqual([newest]);
  expect(inRepository()).toEqual([labels.get(newest)]);
});

it('finds that pgBackRest has removed one by itself', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const [old = ''] = manifests();
  const newest = await create('full');
  expect(site.run('expire', `--set=${labels.get(old)!}`).code).toBe(0);
  const done = await prune();
  expect(done.code, done.stderr).toBe(0);
  expect(done.data).toMatchObject({
    removed: [{ backup: old, why: expect.stringContaining('does not have') as unknown }],
  });
  expect(manifests()).toEqual([newest]);
});
