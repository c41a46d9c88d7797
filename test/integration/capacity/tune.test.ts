// The lines of tune are statements that the server understands, and nothing is changed by printing them.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { compareSettings } from '../../../src/health/tune/machine.ts';
import { connect, type Db } from '../../../src/pg/connection.ts';
import { runDbops } from '../../support/cli.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
let db: Db;

beforeAll(async () => {
  database = await createDatabase('tune');
  db = await connect({ url: database.url, connectTimeoutMs: 10_000, applicationName: 'test' });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const given = { memoryBytes: 2 ** 34, cpus: 4, storage: 'ssd' as const, connections: 100 };

it('compares in one unit, and each line can be run', async () => {
  const { comparisons } = await compareSettings(db, given);
  const byName = new Map(comparisons.map((item) => [item.name, item]));
  expect(byName.get('shared_buffers')).toMatchObject({
    fits: false,
    written: '4096MB',
    current: { needsRestart: true },
  });
  expect(byName.get('max_worker_processes')).toMatchObject({ fits: true });
  expect(byName.get('random_page_cost')?.current).toMatchObject({ value: 4, needsRestart: false });
  for (const { name, written, current, value } of comparisons) {
    if (current.needsRestart) continue;
    await database.query(`select set_config('${name}', '${written}', false)`);
    const [row] = (await compareSettings(db, given)).comparisons.filter((item) => item.name === name);
    // Of this session alone.
    expect(row?.current.value).toBe(current.value);
    expect(value).toBeLessThanOrEqual(current.most);
  }
});

it('reads from this host what is not given', async () => {
  const { machine } = await compareSettings(db, {});
  expect(machine.cpus).toBeGreaterThan(0);
  expect(machine.memoryBytes).toBeGreaterThan(2 ** 28);
  expect(machine.connections).toBe(200);
  expect(machine).toMatchObject({
    memoryFrom: expect.stringMatching(/^(this host|control group)$/) as string,
    cpusFrom: expect.stringMatching(/^(this host|control group)$/) as string,
  });
  const said = await compareSettings(db, { memoryBytes: 2 ** 32, cpus: 3, storage: 'hdd' });
  expect(said.machine).toMatchObject({ memoryFrom: 'given', cpusFrom: 'given', storageFrom: 'given' });
});

it('takes nothing of this host where the server is another one, as behind a tunnel', async () => {
  const far = Object.create(db, { server: { value: { ...db.server, pid: process.pid } } }) as Db;
  const query: Db['query'] = (question) => db.query(question);
  Object.defineProperty(far, 'query', { value: query });
  await expect(compareSettings(far, {})).rejects.toMatchObject({
    code: 'usage',
    message: expect.stringContaining('--memory and --cpus must be given') as string,
  });
  await expect(compareSettings(far, { memoryBytes: 2 ** 32 })).rejects.toThrow(/: --cpus must be given/);
  const { machine } = await compareSettings(far, { memoryBytes: 2 ** 32, cpus: 4 });
  expect(machine).toMatchObject({ storage: null, storageFrom: null });
});

it('prints a script, and refuses what is no size', async () => {
  const { code, stdout, stderr } = await runDbops([
    'tune',
    '--memory',
    '16GB',
    '--cpus',
    '4',
    '--storage',
    'ssd',
    '--url',
    database.url,
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/^-- for 16.0 GB of memory \(as given\), 4 cores \(as given\), ssd, \d+ sessions\n/);
  expect(stdout).toContain("\nalter system set shared_buffers = '4096MB';\n");
  expect(stdout).toContain('\nselect pg_reload_conf();\n');
  expect(
    stdout
      .split('\n')
      .every((line) => line === '' || /^(-- |alter system set |select pg_reload_conf)/.test(line)),
  ).toBe(true);
  expect((await runDbops(['tune', '--memory', '16 apples', '--url', database.url])).code).toBe(2);
});
