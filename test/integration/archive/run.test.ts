// What "archive run" does with its flags and with what the configuration says of a table.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  archiveSetup,
  archiveStates,
  archiveYaml,
  copyOf,
  expectTrueLedger,
  filesIn,
  later,
  ledgerStates,
  linesOf,
  makeTable,
  manifestsIn,
  now,
  startAfresh,
  type Setup,
} from '../../support/archive-run.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

let db: TestDatabase;
let setup: Setup;

beforeAll(async () => {
  db = await createDatabase('archive_run');
  setup = archiveSetup(db);
});
afterAll(() => db.drop());
beforeEach(async () => {
  await startAfresh(setup);
  setup.configure(archiveYaml(setup.store));
});

interface Line {
  partition: string;
  archive: string;
  rows: number;
  reached: string;
}

async function run(args: string[] = [], env: Record<string, string> = now): Promise<Line[]> {
  const result = await setup.run(['archive', 'run', ...args, '--json'], env);
  expect(result.code, result.stderr).toBe(0);
  return (JSON.parse(result.stdout) as { data: { partitions: Line[] } }).data.partitions;
}
const brief = (lines: Line[]) => lines.map((line) => `${line.partition} ${line.reached}`);
const attached = async (parent = 'events') =>
  (
    await db.query<{ name: string }>(
      'select inhrelid::regclass::text as name from pg_inherits where inhparent = $1::regclass order by inhrelid',
      [parent],
    )
  ).map((row) => row.name);
/** The rows in the newest archive of a partition. */
const archived = (partition: string) => {
  const found = manifestsIn(setup.store)
    .filter(({ manifest }) => manifest.partition.name === partition)
    .sort((a, b) => a.manifest.id.localeCompare(b.manifest.id));
  return linesOf(found.at(-1)!.folder).sort();
};

it('goes as far as --until says, and the next run goes on with the same archive', async () => {
  await makeTable(db);
  const rows = copyOf(db, 'events_6').sort();
  const first = await run(['--until', 'verified']);
  expect(brief(first)).toEqual(['public.events_6 verified']);
  expect(await attached()).toEqual(['events_6', 'events_11']);
  const second = await run(['--until', 'detached']);
  expect(brief(second)).toEqual(['public.events_6 detached']);
  expect(second[0]!.archive).toBe(first[0]!.archive);
  expect(manifestsIn(setup.store)).toHaveLength(1);
  expect(await attached()).toEqual(['events_11']);
  expect(await run(['--until', 'detached'], later)).toEqual([]);
  expect(await ledgerStates(db)).toEqual(['events_6 detached']);
  expect(await run([], now)).toEqual([]);
  expect(brief(await run([], later))).toEqual(['public.events_6 dropped']);
  expect(await ledgerStates(db)).toEqual(['events_6 dropped']);
  expect(archived('events_6')).toEqual(rows);
  await expectTrueLedger(setup);
});

it('takes at most --max of a table, the oldest first, and says what waits', async () => {
  await makeTable(db, 'events', [4, 5, 6, 11], 3);
  const result = await setup.run(['archive', 'run', '--max', '2'], now);
  expect(result.code, result.stderr).toBe(0);
  expect(result.stderr).toContain('public.events: 3 due, 2 in this run; --max lifts the limit');
  expect(await attached()).toEqual(['events_6', 'events_11']);
  expect(brief(await run())).toEqual(['public.events_6 detached']);
  await expectTrueLedger(setup);
});

it('takes the partitions that are named, before their time as a copy only', async () => {
  await makeTable(db, 'events', [5, 6, 10, 11], 3);
  expect(brief(await run(['--partition', 'public.events_6']))).toEqual(['public.events_6 detached']);
  const early = await setup.run(['archive', 'run', '--partition', 'public.events_10'], now);
  expect(early.code, early.stderr).toBe(4);
  expect(early.stderr).toMatch(/events_10 is not due: its policy keeps it in the table/);
  const copies = await run(['--partition', 'events_10', 'public.events_5', '--until', 'verified']);
  expect(brief(copies)).toEqual(['public.events_10 verified', 'public.events_5 verified']);
  expect(await attached()).toEqual(['events_5', 'events_10', 'events_11']);
});

it('prints in a dry run what the run then does, and changes nothing by it', async () => {
  await makeTable(db, 'events', [5, 6, 11], 3);
  const dry = await setup.run(['archive', 'run', '--dry-run', '--json'], now);
  expect(dry.code, dry.stderr).toBe(0);
  expect(filesIn(setup.store)).toEqual([]);
  expect(await db.query("select to_regnamespace('dbops') as it")).toEqual([{ it: null }]);
  expect(await attached()).toEqual(['events_5', 'events_6', 'events_11']);
  const { data } = JSON.parse(dry.stdout) as { data: { archives: { partition: string }[] } };
  const done = await run();
  expect(done.map(({ partition }) => partition)).toEqual(data.archives.map(({ partition }) => partition));
  const script = await setup.run(['archive', 'run', '--dry-run'], later);
  const drops = [...script.stdout.matchAll(/^-- drop (\S+):/gm)].map((match) => match[1]);
  const dropped = await run([], later);
  expect(dropped.filter(({ reached }) => reached === 'dropped').map(({ partition }) => partition)).toEqual(
    drops,
  );
  expect(drops).toEqual(['public.events_5', 'public.events_6']);
});

it('waits until a partition has settled', async () => {
  await makeTable(db, 'events', [10, 11], 3);
  const configure = (settle: string) =>
    setup.configure(
      archiveYaml(setup.store, { more: `    archive: { settle: ${settle} }\n` }).replace(
        'hot: 90 days',
        'hot: 1 day',
      ),
    );
  configure('30 days');
  expect(await run()).toEqual([]);
  const named = await setup.run(['archive', 'run', '--partition', 'public.events_10'], now);
  expect(named.code, named.stderr).toBe(4);
  expect(named.stderr).toContain('is still open');
  configure('20 days');
  expect(brief(await run())).toEqual(['public.events_10 detached']);
});

it('masks on the way out, proves with the masked rows, and makes a new archive for another mask', async () => {
  await makeTable(db);
  const mask = (expression: string) =>
    setup.configure(
      archiveYaml(setup.store, {
        more: `    archive: { verify: digest, mask: { note: "${expression}" } }\n`,
      }),
    );
  mask("'hidden'");
  const first = await run(['--until', 'verified']);
  const lines = () => copyOf(db, '(select id, at, md5(note) from events_6) as t').sort();
  expect(archived('events_6').every((line) => line.endsWith('\thidden'))).toBe(true);
  mask('md5(note)');
  const second = await run();
  expect(brief(second)).toEqual(['public.events_6 detached']);
  expect(second[0]!.archive).not.toBe(first[0]!.archive);
  expect(archived('events_6')).toEqual(lines());
  // A masked column that changes afterwards is a change all the same, and is seen before the drop.
  await db.query("update events_6 set note = 'changed' where id = 6001");
  const result = await setup.run(['archive', 'run', '--until', 'dropped'], later);
  expect(result.code, result.stderr).toBe(0);
  expect(result.stderr).toMatch(/is not what archive \S+ holds/);
  expect(brief(await run([], later))).toEqual(['public.events_6 detached']);
  expect(archived('events_6')).toEqual(lines());
  for (const { folder } of manifestsIn(setup.store)) {
    expect(linesOf(folder).filter((line) => /row \d|changed/.test(line))).toEqual([]);
  }
});

it('refuses to mask a column that is not there', async () => {
  await makeTable(db);
  setup.configure(archiveYaml(setup.store, { more: '    archive: { mask: { address: "null" } }\n' }));
  const result = await setup.run(['archive', 'run'], now);
  // The first run of all has made the state schema before.
  expect(result.code, result.stderr).toBe(5);
  expect((await setup.run(['archive', 'run'], now)).code).toBe(2);
  expect(result.stderr).toContain('public.events_6 has no stored column "address" that could be masked');
  expect(await attached()).toEqual(['events_6', 'events_11']);
  expect(filesIn(setup.store)).toEqual([]);
});

it('takes generated and identity columns as they are, and they come back', async () => {
  await db.query(`
    create table events (id int8 generated always as identity (start with 50), at timestamptz not null,
      note text, doubled int8 generated always as (length(note) * 2) stored) partition by range (at);
    create table events_6 partition of events for values from ('2026-06-01 00:00:00+00') to ('2026-07-01 00:00:00+00');
    create table events_11 partition of events for values from ('2026-11-01 00:00:00+00') to ('2026-12-01 00:00:00+00');
    insert into events (at, note) select '2026-06-02', repeat('x', g) from generate_series(1, 9) as g`);
  setup.configure(archiveYaml(setup.store, { more: '    archive: { verify: restore }\n' }));
  const [line] = await run();
  expect(line).toMatchObject({ rows: 9, reached: 'detached' });
  const back = await setup.run(
    ['archive', 'restore', line!.archive, '--into', 'public.back', '--verify', 'digest', '--yes'],
    now,
  );
  expect(back.code, back.stderr).toBe(0);
  expect(copyOf(db, 'back').sort()).toEqual(copyOf(db, 'events_6').sort());
  await expectTrueLedger(setup);
});

it('archives the leaves of a set that is partitioned twice', async () => {
  await db.query(`
    create table events (id int8, kind text, at timestamptz not null) partition by list (kind);
    create table events_a partition of events for values in ('a') partition by range (at);
    create table events_b partition of events for values in ('b') partition by range (at)`);
  for (const kind of ['a', 'b']) {
    for (const month of [6, 11]) {
      await db.query(`create table events_${kind}_${month} partition of events_${kind}
        for values from ('2026-${month}-01 00:00:00+00') to ('2026-${month + 1}-01 00:00:00+00')`);
      await db.query(
        `insert into events select g, '${kind}', '2026-${month}-05' from generate_series(1, 4) as g`,
      );
    }
  }
  const rows = ['a', 'b'].map((kind) => copyOf(db, `events_${kind}_6`).sort());
  expect(brief(await run()).sort()).toEqual(['public.events_a_6 detached', 'public.events_b_6 detached']);
  expect(await attached('events_a')).toEqual(['events_a_11']);
  expect(brief(await run([], later)).sort()).toEqual([
    'public.events_a_6 dropped',
    'public.events_b_6 dropped',
  ]);
  expect(['a', 'b'].map((kind) => archived(`events_${kind}_6`))).toEqual(rows);
  await expectTrueLedger(setup);
});

it('archives ranges of ids that the newest row has left behind', async () => {
  await db.query(`
    create table events (id int8 generated by default as identity primary key, note text) partition by range (id);
    create table events_0 partition of events for values from (0) to (100);
    create table events_1 partition of events for values from (100) to (200);
    create table events_2 partition of events for values from (200) to (300);
    insert into events select g, 'row ' || g from generate_series(0, 250) as g;
    select setval(pg_get_serial_sequence('events', 'id'), 250)`);
  setup.configure(
    archiveYaml(setup.store)
      .replace('key: at', 'key: id')
      .replace('interval: month', 'interval: 100')
      .replace('hot: 90 days', 'hot: 100'),
  );
  const rows = copyOf(db, 'events_0').sort();
  expect(brief(await run())).toEqual(['public.events_0 detached']);
  expect(await attached()).toEqual(['events_1', 'events_2']);
  expect(brief(await run([], later))).toEqual(['public.events_0 dropped']);
  expect(archived('events_0')).toEqual(rows);
});

it('archives the months of a set in Asia/Seoul by their own bounds', async () => {
  await db.query(`
    create table events (id int8, at timestamptz not null) partition by range (at);
    create table events_8 partition of events for values from ('2026-08-01 00:00:00+09') to ('2026-09-01 00:00:00+09');
    create table events_11 partition of events for values from ('2026-11-01 00:00:00+09') to ('2026-12-01 00:00:00+09');
    insert into events values (1, '2026-08-01 00:00:00+09'), (2, '2026-08-31 23:59:59.999+09')`);
  setup.configure(
    archiveYaml(setup.store, { more: '    timezone: Asia/Seoul\n' }).replace('hot: 90 days', 'hot: 2 months'),
  );
  // The month ends at 15:00 UTC of the day before, and two months later its time has come.
  expect(await run([], { DBOPS_TEST_NOW: '2026-10-31T14:59:00Z' })).toEqual([]);
  expect(brief(await run([], now))).toEqual(['public.events_8 detached']);
  expect(archived('events_8')).toEqual(['1\t2026-07-31 15:00:00+00', '2\t2026-08-31 14:59:59.999+00']);
});

it('tells the hook of each partition that failed, in JSON', async () => {
  await makeTable(db, 'events', [5, 6, 11], 3);
  const blocked = path.join(setup.dir, 'blocked');
  fs.writeFileSync(blocked, 'a file where the store should be');
  const told = path.join(setup.dir, 'told.jsonl');
  const top = `archive: { onFailure: "cat >> '${told}'" }`;
  setup.configure(archiveYaml(blocked, { top }));
  const result = await setup.run(['archive', 'run'], now);
  expect(result.code, result.stderr).toBe(7);
  const messages = fs
    .readFileSync(told, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { partition: string });
  expect(messages.map(({ partition }) => partition)).toEqual(['public.events_5', 'public.events_6']);
  expect(messages[0]).toMatchObject({
    event: 'archive_failed',
    database: db.name,
    at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) as string,
    host: expect.any(String) as string,
    error: { code: 'store_failed', message: expect.stringContaining('cold') as string },
  });
  // A hook that fails is a warning.
  setup.configure(archiveYaml(blocked, { top: 'archive: { onFailure: "exit 3" }' }));
  const again = await setup.run(['archive', 'run'], now);
  expect(again.code, again.stderr).toBe(7);
  expect(again.stderr).toContain('"archive.onFailure" failed');
});

it('leaves alone what is to be deleted, and keeps for ever what has no retention.cold', async () => {
  await makeTable(db);
  setup.configure(archiveYaml(setup.store).replace('hot: 90 days', 'hot: 90 days, then: delete'));
  expect(await run()).toEqual([]);
  expect(await attached()).toEqual(['events_6', 'events_11']);
  expect(filesIn(setup.store)).toEqual([]);
  setup.configure(archiveYaml(setup.store));
  expect(brief(await run())).toEqual(['public.events_6 detached']);
  expect(brief(await run([], later))).toEqual(['public.events_6 dropped']);
  const prune = await setup.run(['archive', 'prune', '--json'], { DBOPS_TEST_NOW: '2126-01-01T00:00:00Z' });
  expect(prune.code, prune.stderr).toBe(0);
  expect(manifestsIn(setup.store)).toHaveLength(1);
  expect((await archiveStates(db)).map(({ state }) => state)).toEqual(['proven']);
});

it('takes a verified archive again only while its rows and its definition are those of the partition', async () => {
  await makeTable(db);
  const [first] = await run(['--until', 'verified']);
  expect((await run(['--until', 'verified']))[0]!.archive).toBe(first!.archive);
  await db.query("insert into events_6 values (6999, '2026-06-30', 'late')");
  const [second] = await run(['--until', 'verified']);
  expect(second!.archive).not.toBe(first!.archive);
  expect(second!.rows).toBe(21);
  await db.query('alter table events add column more int');
  const [third] = await run();
  expect(third).toMatchObject({ reached: 'detached', rows: 21 });
  expect(archived('events_6')).toEqual(copyOf(db, 'events_6').sort());
});

it('copies in parallel what --jobs allows, into parts that are the table together', async () => {
  await db.query(`
    create table events (id int8, at timestamptz not null, note text) partition by range (at);
    create table events_6 partition of events for values from ('2026-06-01 00:00:00+00') to ('2026-07-01 00:00:00+00');
    create table events_11 partition of events for values from ('2026-11-01 00:00:00+00') to ('2026-12-01 00:00:00+00');
    insert into events select g, '2026-06-02', repeat(md5(g::text), 50) from generate_series(1, 22000) as g`);
  const [one] = await run(['--until', 'verified', '--jobs', '3']);
  const { manifest, folder } = manifestsIn(setup.store).find((item) => item.manifest.id === one!.archive)!;
  expect(manifest.parts).toHaveLength(3);
  expect(manifest.parts.reduce((sum, part) => sum + part.rows, 0)).toBe(22_000);
  const ids = new Set(linesOf(folder).map((line) => line.slice(0, line.indexOf('\t'))));
  expect(ids.size).toBe(22_000);
});
