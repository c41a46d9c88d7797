// What health says of sessions: connections, transactions and locks.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { createRole, findingOf } from '../../support/health.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('sessions');
});
afterAll(() => db.drop());

describe('connections.used', () => {
  it('is well far from the last connection, and a finding near it', async () => {
    expect(await findingOf(db, 'connections.used')).toMatchObject({ severity: 'ok', object: null });
    const thresholds = { 'connections.used': { warn: 0.1, crit: 99 } };
    expect(await findingOf(db, 'connections.used', { thresholds })).toMatchObject({
      severity: 'warn',
      mend: 'dbops inspect connections',
    });
  });

  it('is unknown to a role that sees itself alone, and known to pg_monitor', async () => {
    const nobody = await createRole(db);
    expect(await findingOf(db, 'connections.used', { as: nobody })).toMatchObject({
      severity: 'unknown',
      mend: `grant pg_read_all_stats to ${nobody.name};`,
    });
    const monitor = await createRole(db, 'pg_monitor');
    expect(await findingOf(db, 'connections.used', { as: monitor })).toMatchObject({ severity: 'ok' });
  });
});
