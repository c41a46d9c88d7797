// What "archive run", "restore" and "query" refuse: the exit code, the words, and that neither the catalog nor the store
// is another one afterwards.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  archiveSetup,
  archiveStates,
  archiveYaml,
  copyOf,
  filesIn,
  later,
  linesOf,
  makeTable,
  manifestsIn,
  now,
  type Setup,
} from '../../support/archive-run.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { accessDenied, startFaultProxy, type FaultProxy } from '../../support/fault-proxy.ts';
import { startS3, whyNoS3, type S3Server } from '../../support/s3.ts';

let db: TestDatabase;
let setup: Setup;
/** The archive of events_4, which is in quarantine. */
let id: string;

beforeAll(async () => {
  db = await createDatabase('archive_refusals');
  setup = archiveSetup(db);
  await makeTable(db, 'events', [4, 6, 7, 11]);
  await makeTable(db, 'other', [11]);
  await db.query(`
    create table events_default partition of events default;
    insert into events values (1, '2020-01-01', 'stray');
    alter table events add primary key (id, at)`);
  const first = await setup.run(['archive', 'run', '--max', '1'], now);
  expect(first.code, first.stderr).toBe(0);
  id = (await archiveStates(db))[0]!.id;
  await db.query(`
    create table refs (id int8, at timestamptz, constraint refs_to_events foreign key (id, at) references events);
    insert into refs values (6001, '2026-06-02')`);
});
afterAll(() => db.drop());

/** All that a refusal must leave alone. */
async function everything(): Promise<unknown> {
  const files = filesIn(setup.dir).map((file) => [
    file,
    createHash('sha256')
      .update(fs.readFileSync(path.join(setup.dir, file)))
      .digest('hex'),
  ]);
  return {
    relations: await db.query(
      `select c.oid, c.oid::regclass::text as name, c.relispartition, obj_description(c.oid, 'pg_class') as comment,
              pg_get_expr(c.relpartbound, c.oid) as bound
         from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by c.oid`,
    ),
    ledger: await db.query('select * from dbops.partition_ledger order by id'),
    archives: await db.query('select * from dbops.archive order by id'),
    rows: await db.query('select count(*)::int from events'),
    files,
  };
}

interface Refusal {
  code: number;
  words: RegExp[];
  env?: Record<string, string>;
}

async function expectRefused(args: string[], { code, words, env = now }: Refusal): Promise<string> {
  const before = await everything();
  const result = await setup.run(args, env);
  expect(result.code, `${result.stdout}${result.stderr}`).toBe(code);
  for (const pattern of words) expect(result.stderr).toMatch(pattern);
  expect(await everything()).toEqual(before);
  return result.stderr;
}

/** With another configuration for one refusal. */
async function configured(yaml: string, work: () => Promise<void>): Promise<void> {
  setup.configure(yaml);
  try {
    await work();
  } finally {
    setup.configure(archiveYaml(setup.store));
  }
}
const withStore = (url: string) => archiveYaml('', { stores: `  cold: { url: "${url}" }\n` });

describe('archive run', () => {
  it.each([
    [
      ['--partition', 'public.events_default'],
      4,
      /events_default is the default partition of public\.events/,
    ],
    [['--partition', 'public.events_11'], 4, /events_11 is still open: its period ends at 2026-12-01/],
    [
      ['--partition', 'public.events_4'],
      4,
      /events_4 was detached from public\.events already and is in quarantine/,
    ],
    [['--partition', 'public.events_6'], 4, /rows of public\.refs reference public\.events_6/],
    [['--partition', 'public.refs'], 2, /public\.refs is not a partition of a configured table/],
    [['--partition', 'public.nothing'], 2, /public\.nothing is not a partition of a configured table/],
    [['public.nothing'], 2, /public\.nothing/],
    [['public.events', '--partition', 'public.events_6'], 2, /not both/],
    [['--until', 'tomorrow'], 2, /--until is verified, detached, dropped, not "tomorrow"/],
    [['--jobs', '0'], 2, /--jobs/],
    [['--max', '-1'], 2, /--max/],
  ] as [string[], number, RegExp][])('refuses %j', async (args, code, words) => {
    await expectRefused(['archive', 'run', ...args], { code, words: [words] });
  });

  it('names the foreign key, and what helps', async () => {
    await expectRefused(['archive', 'run', '--partition', 'public.events_6'], {
      code: 4,
      words: [/foreign key refs_to_events/, /Delete or move the referencing rows first/],
    });
  });

  it('refuses what another set has in quarantine, and does not drop it either', async () => {
    await configured(archiveYaml(setup.store, { tables: ['public.other'] }), async () => {
      await expectRefused(['archive', 'run', '--partition', 'public.events_4'], {
        code: 4,
        words: [/in quarantine/, new RegExp(`Archive ${id} holds it`)],
      });
      await expectRefused(['archive', 'run'], { code: 0, words: [], env: later });
    });
  });

  it.each([
    ['gs://bucket/x', /"gs:" is no kind of store that dbops knows/],
    [
      '/var/archive',
      /must be file:\/\/\/absolute\/path or s3:\/\/bucket\/prefix; write it as "file:\/\/\/var\/archive"/,
    ],
    ['file://host/path', /three slashes/],
    ['s3://', /must name a bucket/],
  ])('refuses the store %s', async (url, words) => {
    await configured(withStore(url), async () => {
      await expectRefused(['archive', 'run'], { code: 2, words: [words] });
    });
  });

  it('refuses credentials in a URL without showing them, and says how to give them', async () => {
    await configured(withStore('s3://AKIDEXAMPLE:very-secret@bucket/x'), async () => {
      for (const args of [
        ['archive', 'run'],
        ['archive', 'restore', id, '--into', 'public.back', '--yes'],
        ['archive', 'query', 'select 1'],
        ['archive', 'run', '--json'],
      ]) {
        const words = await expectRefused(args, {
          code: 2,
          words: [/must not hold credentials/, /secretAccessKeyFile/, /AWS_SECRET_ACCESS_KEY/],
        });
        expect(words).not.toContain('very-secret');
      }
    });
    const direct = await expectRefused(
      ['archive', 'query', 'select 1', '--store', 's3://AKIDEXAMPLE:very-secret@bucket/x'],
      { code: 2, words: [/must not hold credentials/] },
    );
    expect(direct).not.toContain('very-secret');
  });

  it('refuses a store that nobody named', async () => {
    const yaml = archiveYaml(setup.store, { top: 'archive: { copies: [clod] }' });
    await configured(yaml, async () => {
      await expectRefused(['archive', 'run'], { code: 2, words: [/names no store; did you mean "cold"\?/] });
    });
  });
});

describe('archive restore', () => {
  it.each([
    [
      ['20200101T000000Z-00000000', '--into', 'public.back'],
      2,
      /there is no archive "20200101T000000Z-00000000"/,
    ],
    [['../../etc', '--into', 'public.back'], 2, /there is no archive "\.\.\/\.\.\/etc" in "cold"/],
    [['', '--into', 'public.back'], 2, /the id of the archive is empty/],
    [['ID', '--into', 'public.events_4'], 4, /public\.events_4 is there already/],
    [['ID', '--into', 'public.events'], 4, /public\.events is there already/],
    [['ID', '--into', 'public."line\nbreak"'], 2, /has a line break or a backslash in its name/],
    [['ID', '--into', 'public.back', '--verify', 'hope'], 2, /--verify is bytes or digest, not "hope"/],
    [['ID', '--into', 'pg_catalog.back'], 4, /pg_catalog/],
  ] as [string[], number, RegExp][])('refuses %j', async (args, code, words) => {
    const own = args.map((arg) => (arg === 'ID' ? id : arg));
    await expectRefused(['archive', 'restore', ...own, '--yes'], { code, words: [words] });
  });

  it('refuses to put it beside a partition with the same bounds', async () => {
    await db.query(`create table events_twin partition of events
      for values from ('2026-04-01 00:00:00+00') to ('2026-05-01 00:00:00+00')`);
    await expectRefused(['archive', 'restore', id, '--into', 'public.back', '--attach', '--yes'], {
      code: 4,
      words: [/public\.events_twin has these bounds already/],
    });
  });
});

describe('an id that a script left empty', () => {
  it.each([
    ['show', ''],
    ['verify', ''],
    ['hold', '', '--reason', 'case 1'],
    ['prune', '--archive', '', '--yes'],
  ])('names no archive to %s', async (...args) => {
    await expectRefused(['archive', ...args], { code: 2, words: [/the id of the archive is empty/] });
  });
});

describe('archive query', () => {
  it.each([
    ["insert into public.events values (1, '2026-04-01', 'x')", 4, /only a query can be run on archives/],
    ['delete from public.events', 4, /only a query/],
    ['drop table public.events', 4, /only a query/],
    ["copy public.events to 'stolen.csv'", 4, /only a query/],
    ["attach 'other.db'", 4, /only a query/],
    ["set memory_limit = '1GB'", 4, /only a query/],
    ["select * from read_text('dbops.yaml')", 4, /cannot call read_text\(\)/],
    ["select * from 'dbops.yaml'", 2, /dbops\.yaml/],
    ['select 1; select 2', 2, /2 statements/],
    ['select from where', 2, /cannot be parsed/],
    ['select * from public.nothing', 2, /nothing/],
  ])('refuses %j', async (sql, code, words) => {
    await expectRefused(['archive', 'query', sql], { code, words: [words] });
  });
});

describe('hostile names of partitions', () => {
  const names = [
    `quotes"and'others`,
    'a/b',
    'a%2Fb',
    '..',
    '../../../etc/passwd',
    '.hidden',
    'line\nbreak',
    '한글 파티션',
    'x'.repeat(63),
    'back\\slash and $(touch x); --',
  ];
  const quoted = (name: string) => `public."${name.replaceAll('"', '""')}"`;
  let store: string;

  it('are keys that stay in their folder, one for each, and come back by their archives', async () => {
    store = path.join(setup.dir, 'hostile', 'store');
    await db.query('create table hostile (id int8, at timestamptz, note text) partition by range (at)');
    for (const [index, name] of names.entries()) {
      const day = (plus: number) => new Date(Date.UTC(2025, index + plus, 1)).toISOString();
      await db.query(
        `create table ${quoted(name)} partition of hostile for values from ('${day(0)}') to ('${day(1)}')`,
      );
      await db.query('insert into hostile select $1 * 100 + g, $2, $3 from generate_series(1, 5) as g', [
        index,
        day(0),
        name,
      ]);
    }
    await db.query(
      "create table hostile_now partition of hostile for values from ('2026-11-01') to ('2026-12-01')",
    );
    const outside = filesIn(setup.dir);
    await configured(archiveYaml(store, { tables: ['public.hostile'] }), async () => {
      const named = await setup.run(
        ['archive', 'run', '--until', 'verified', '--partition', quoted(names[0]!), quoted('..')],
        now,
      );
      expect(named.code, named.stderr).toBe(0);
      const result = await setup.run(['archive', 'run', '--max', '20', '--json'], now);
      expect(result.code, result.stderr).toBe(0);
      // A name with a line break must not forge a line of the log.
      expect(result.stderr).not.toMatch(/^break/m);
      const { data } = JSON.parse(result.stdout) as { data: { partitions: { reached: string }[] } };
      expect(data.partitions.map(({ reached }) => reached)).toEqual(names.map(() => 'detached'));
      const found = manifestsIn(store);
      expect(found.map(({ manifest }) => manifest.partition.name).sort()).toEqual([...names].sort());
      const folders = new Set(found.map(({ folder }) => path.dirname(folder)));
      expect(folders.size).toBe(names.length);
      // All of them beside each other, below the folder of the table.
      expect(new Set([...folders].map((folder) => path.dirname(folder))).size).toBe(1);
      for (const folder of folders) expect(path.relative(store, folder)).not.toMatch(/(^|\/)\.|[\n\\"' $]/);
      for (const { folder, manifest } of found) {
        expect(linesOf(folder).sort()).toEqual(copyOf(db, quoted(manifest.partition.name)).sort());
      }
      expect(filesIn(setup.dir).filter((file) => !file.startsWith('hostile/'))).toEqual(outside);
      for (const name of ['../../../etc/passwd', 'line\nbreak']) {
        const { manifest } = found.find((item) => item.manifest.partition.name === name)!;
        const back = await setup.run(
          ['archive', 'restore', manifest.id, '--into', 'public.hostile_back', '--yes', '--verify', 'digest'],
          now,
        );
        expect(back.code, back.stderr).toBe(0);
        expect(copyOf(db, 'hostile_back').sort()).toEqual(copyOf(db, quoted(name)).sort());
        await db.query('drop table hostile_back');
      }
    });
  });
});

describe('a bucket', () => {
  const noS3 = whyNoS3();
  let server: S3Server;
  let proxy: FaultProxy;
  beforeAll(async () => {
    if (noS3 !== undefined) return;
    server = await startS3();
    proxy = await startFaultProxy(server.endpoint);
  });
  afterAll(async () => {
    await proxy?.stop();
    await server?.stop();
  });

  const yaml = (bucket = server.bucket) =>
    archiveYaml('', {
      stores: server.yaml('cold', { endpoint: proxy.endpoint }).replace(server.bucket, bucket),
      tables: ['public.bucketed'],
    });

  it('that does not exist, or denies a verb, is named, with the right that is missing', async (context) => {
    if (noS3 !== undefined) context.skip(noS3);
    await makeTable(db, 'bucketed', [6, 11]);
    const attached = () =>
      db.query("select inhrelid from pg_inherits where inhparent = 'bucketed'::regclass");
    const run = async (args: string[], words: RegExp[]) => {
      const before = [await attached(), copyOf(db, 'bucketed')];
      const result = await setup.run(args, now);
      expect(result.code, `${result.stdout}${result.stderr}`).toBe(7);
      for (const pattern of words) expect(result.stderr).toMatch(pattern);
      expect([await attached(), copyOf(db, 'bucketed')]).toEqual(before);
      expect(
        (await archiveStates(db)).filter(({ stores }) => stores.includes('cold')).at(-1)?.state,
      ).not.toBe('verified');
    };
    await configured(yaml('no-such-bucket-here'), async () => {
      await run(['archive', 'run'], [/the bucket "no-such-bucket-here" of the store "cold" does not exist/]);
      await run(
        ['archive', 'query', 'select * from public.bucketed'],
        [/the bucket "no-such-bucket-here" of the store "cold" does not exist/],
      );
    });
    await configured(yaml(), async () => {
      for (const [verb, right] of [
        ['PutObject', /Allow s3:PutObject on arn:aws:s3:::dbops-/],
        ['GetObject', /Allow s3:GetObject on arn:aws:s3:::dbops-/],
      ] as const) {
        proxy.decide((request) => (request.verb === verb ? accessDenied : undefined));
        await run(['archive', 'run'], [new RegExp(`denies ${verb} of s3://`), right]);
      }
      proxy.decide(undefined);
      const good = await setup.run(['archive', 'run'], now);
      expect(good.code, good.stderr).toBe(0);
      const [made] = (await archiveStates(db))
        .filter(({ partition }) => partition === 'bucketed_6')
        .slice(-1);
      for (const [verb, right] of [
        ['ListObjectsV2', /Allow s3:ListBucket on arn:aws:s3:::dbops-/],
        ['GetObject', /Allow s3:GetObject on arn:aws:s3:::dbops-/],
      ] as const) {
        proxy.decide((request) => (request.verb === verb ? accessDenied : undefined));
        await run(
          ['archive', 'restore', made!.id, '--into', 'public.bucketed_back', '--yes'],
          [new RegExp(`denies ${verb} of s3://`), right],
        );
        expect(await db.query("select to_regclass('public.bucketed_back') as it")).toEqual([{ it: null }]);
      }
    });
  });
});
