// The order of things, as the server and the store have seen it: the rows go last, and the manifest comes after the proof.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import { archiveSetup, archiveYaml, later, makeTable, now, type Setup } from '../support/archive-run.ts';
import { ownDatabase, startPrivateServer } from '../support/database.ts';
import { startFaultProxy, type FaultProxy, type ProxiedRequest } from '../support/fault-proxy.ts';
import { startS3, whyNoS3, type S3Server } from '../support/s3.ts';

const missing = whyNoS3();
let server: Server;
let s3: S3Server;
let proxy: FaultProxy;
let setup: Setup;

beforeAll(async () => {
  if (missing !== undefined) return;
  // %n: seconds since 1970 with milliseconds, from the clock that the proxy reads too.
  server = await startPrivateServer({ log_statement: 'all', log_line_prefix: '%n ' });
  s3 = await startS3();
  proxy = await startFaultProxy(s3.endpoint);
  setup = archiveSetup(ownDatabase(server));
  setup.configure(archiveYaml(setup.store, { stores: s3.yaml('cold', { endpoint: proxy.endpoint }) }));
});
afterAll(async () => {
  await proxy?.stop();
  await s3?.stop();
  await server?.stop({ immediate: true });
});

/** When the server was given the statements that match, in milliseconds since 1970. One entry may have several lines. */
function statements(pattern: RegExp): number[] {
  return server
    .log()
    .split(/^(?=\d+\.\d+ [A-Z]+: )/m)
    .filter((entry) => / LOG: {2}(statement|execute [^:]*): /.test(entry) && pattern.test(entry))
    .map((entry) => Number.parseFloat(entry) * 1000);
}

const detach = /^\s*alter table [^;]*detach partition|: alter table [^;]*detach partition/m;
const drop = /^\s*drop table |: drop table /m;

function asked(verb: string, name: RegExp): ProxiedRequest[] {
  return proxy.requests().filter((request) => request.verb === verb && name.test(request.key));
}

const finished = (requests: ProxiedRequest[]) => requests.map(({ finishedAt }) => finishedAt ?? Infinity);
const started = (requests: ProxiedRequest[]) => requests.map(({ startedAt }) => startedAt);

it('writes, reads back, writes the manifest, detaches; reads once more, drops', async (context) => {
  if (missing !== undefined) context.skip(missing);
  await makeTable(setup.db, 'events', [6, 11], 20);
  // Large enough for two parts: what is copied side by side must all be read back before the manifest.
  await setup.db.query(
    `insert into events_6 select 70000 + g, '2026-06-03', repeat('some text ', 150)
       from generate_series(1, 24000) as g`,
  );
  await setup.db.query('analyze events_6');
  proxy.forget();
  const first = await setup.run(['archive', 'run'], now);
  expect(first.code, first.stderr).toBe(0);

  const parts = [...new Set(asked('GetObject', /\/part-\d+/).map(({ key }) => key))];
  expect(parts).toHaveLength(2);
  const written = proxy.requests().filter((request) => request.method !== 'GET' && request.method !== 'HEAD');
  const manifests = asked('PutObject', /\/manifest\.json$/);
  expect(manifests).toHaveLength(1);
  expect(written.at(-1)).toBe(manifests[0]);
  const manifestAt = manifests[0]!.startedAt;
  for (const name of [/\/part-00000/, /\/part-00001/, /\/schema\.sql$/]) {
    const puts = written.filter(({ key }) => name.test(key));
    const reads = asked('GetObject', name);
    expect(puts.length).toBeGreaterThan(0);
    expect(reads.length).toBeGreaterThan(0);
    expect(Math.max(...finished(puts))).toBeLessThanOrEqual(Math.min(...started(reads)));
    expect(Math.min(...finished(reads))).toBeLessThanOrEqual(manifestAt);
  }
  const detachedAt = statements(detach);
  expect(detachedAt.length).toBeGreaterThan(0);
  expect(detachedAt).toEqual([...detachedAt].sort((a, b) => a - b));
  expect(finished(manifests)[0]).toBeLessThanOrEqual(detachedAt[0]!);
  // What was written of the manifest is read as well, before anything depends on it.
  expect(Math.min(...finished(asked('GetObject', /\/manifest\.json$/)))).toBeLessThanOrEqual(detachedAt[0]!);
  expect(statements(drop)).toEqual([]);

  proxy.forget();
  const last = await setup.run(['archive', 'run'], later);
  expect(last.code, last.stderr).toBe(0);
  const [droppedAt, ...more] = statements(drop);
  expect(more).toEqual([]);
  for (const name of [/\/manifest\.json$/, /\/part-00000/, /\/part-00001/, /\/schema\.sql$/]) {
    const reads = asked('GetObject', name);
    expect(reads.length).toBeGreaterThan(0);
    expect(Math.max(...finished(reads))).toBeLessThanOrEqual(droppedAt!);
    expect(reads.every(({ status }) => status === 200)).toBe(true);
  }
  expect(proxy.requests().filter(({ verb }) => verb === 'DeleteObject')).toEqual([]);
});
