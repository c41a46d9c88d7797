// Who keeps dead rows from being removed, as roles see it that may and may not look at the sessions of others.
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { holderWarnings } from '../../../src/maintenance/holders.ts';
import { createDatabase, openSession } from '../../support/database.ts';
import { openMaintenance } from '../../support/maintenance.ts';

it('says with the GRANT that sessions of others hide what they hold back, and names the holder to who may look', async () => {
  const db = await createDatabase('holders');
  const role = `dbops_holders_${randomBytes(4).toString('hex')}`;
  await db.query(`create role ${role} login`);
  const url = new URL(db.url);
  url.username = role;
  const holder = await openSession(db.url);
  await holder.query('begin isolation level repeatable read');
  await holder.query('select count(*) from pg_class');
  // Old by its transactions.
  await db.query('do $$ begin for n in 1..10050 loop perform pg_current_xact_id(); commit; end loop; end $$');
  const warningsNow = async () => {
    const job = await openMaintenance(url.href);
    try {
      return (await holderWarnings(job)).join('\n');
    } finally {
      await job.db.close();
    }
  };
  try {
    const hidden = await warningsNow();
    expect(hidden).toMatch(
      /^whether \d+ sessions .*of other roles keep dead rows from being removed is unknown/,
    );
    expect(hidden).toContain(`grant pg_read_all_stats to ${role};`);
    expect(hidden).not.toContain(`session ${String(holder.pid)}`);
    await db.query(`grant pg_read_all_stats to ${role}`);
    const seen = await warningsNow();
    expect(seen).toContain(`session ${String(holder.pid)}`);
    expect(seen).not.toContain('unknown');
  } finally {
    await holder.end();
    await db.query(`drop role ${role}`);
    await db.drop();
  }
});
