import { setTimeout as sleep } from 'node:timers/promises';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { copyOut } from '../../../src/process/copy.ts';
import { findCopyPrograms } from '../../../src/process/tools.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('copyout');
});
afterAll(() => db.drop());

it('loses nothing of a small table that nobody reads before psql has ended', async () => {
  const url = new URL(db.url);
  const copy = copyOut('select pg_catalog.generate_series(1, 100)', {
    programs: await findCopyPrograms(process.env['PATH'] ?? ''),
    connection: {
      PGHOST: url.hostname,
      PGPORT: url.port,
      PGUSER: url.username,
      PGPASSWORD: decodeURIComponent(url.password),
      PGDATABASE: db.name,
    },
    before: ['begin'],
    compressionLevel: 3,
  });
  expect(await copy.finished).toEqual({ rows: 100 });
  await sleep(200);
  const bytes = await buffer(copy.stored);
  // The magic number of zstd, and something behind it.
  expect(bytes.subarray(0, 4).toString('hex')).toBe('28b52ffd');
  expect(bytes.length).toBeGreaterThan(50);
});
