import { afterAll, beforeAll, expect, it } from 'vitest';
import { createArchiveSite, type ArchiveSite } from '../../support/archive.ts';

interface Line {
  due: { partition: string; action: string }[];
  prove: string[];
  drop: string[];
  expire: string[];
  inQuarantine: number;
  problem: string | null;
}
interface Found {
  findings: { check: string; object: string; severity: string; message: string }[];
}

let site: ArchiveSite;
beforeAll(async () => {
  site = await createArchiveSite('overview');
});
afterAll(() => site.db.drop());

const plan = async (now?: string, code = 0) =>
  (await site.json<Line[]>(['partition', 'plan'], now, code))[0]!;
const check = async (now?: string) =>
  (await site.json<Found>(['partition', 'check'], now, 6)).findings.filter((item) =>
    item.check.startsWith('archive'),
  );

it('shows all of retention in one table, from due to expired', async () => {
  expect(await plan()).toMatchObject({
    due: ['events_5', 'events_6', 'events_7'].map((partition) => ({ partition, action: 'archive' })),
    prove: [],
    drop: [],
    expire: [],
    problem: null,
  });
  await site.json(['archive', 'run', '--max', '2']);
  expect(await plan()).toMatchObject({ inQuarantine: 2, drop: [], expire: [] });
  const { stdout } = await site.run(['partition', 'list', '--detached']);
  expect(stdout).toMatch(/archive +size\n/);
  expect(stdout).toMatch(/public\.events_5 .*\d{8}T\d{6}Z-[0-9a-f]{8}/);

  await site.db.query("update dbops.archive set state = 'verified' where partition_name = 'events_6'");
  expect(await plan('2026-12-05T12:00:00Z')).toMatchObject({
    prove: ['events_6'],
    drop: ['events_5', 'events_6'],
  });
  expect(await check('2026-12-05T12:00:00Z')).toMatchObject([
    { check: 'archive-unproven', object: 'public.events_6', severity: 'warn' },
  ]);
  await site.json(['archive', 'run', '--max', '2'], '2026-12-05T12:00:00Z');
  const line = await plan('2028-06-15T12:00:00Z', 0);
  expect(line.expire).toHaveLength(1);
  const shown = await site.run(['partition', 'plan'], '2028-06-15T12:00:00Z');
  expect(shown.stdout).toContain('expire');
});

it('tells of archives that failed, of too few copies, and of a policy without a store', async () => {
  await site.db.query("update dbops.archive set stores = '{local}' where partition_name = 'events_5'");
  await site.db.query(
    `insert into dbops.archive (id, table_schema, table_name, partition_schema, partition_name, partition_oid, bounds,
       place, stores, state, message, created_at)
     select 'failed-' || n, 'public', 'events', 'public', 'events_9', 'events_9'::regclass, '', 'x/', '{}', 'failed',
            'the store is full', ('2027-01-0' || n)::timestamptz from generate_series(1, 5) as n`,
  );
  const found = await check('2027-01-05T12:00:00Z');
  expect(found.map((item) => [item.check, item.object, item.severity])).toEqual([
    ['archive-failed', 'public.events_9', 'crit'],
    ['archive-copies', 'public.events_5', 'warn'],
  ]);
  expect(found[0]!.message).toContain('failed 5 times in 4 days: the store is full');
  expect((await plan('2027-01-05T12:00:00Z', 6)).problem).toBe(
    '1 failed to be archived last night: the store is full',
  );
  expect((await plan('2027-01-09T12:00:00Z', 0)).problem).toBeNull();
  site.work.configure(`
partitions:
  - { table: public.events, key: at, interval: month, retention: { hot: 3 months, cold: 2 years } }
`);
  expect((await plan('2027-01-09T12:00:00Z', 6)).problem).toBe('no store is configured to archive to');
});
