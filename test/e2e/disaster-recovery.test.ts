// Every disaster of docs/disaster-recovery.md is done to a server, and mended by the lines of the document.
import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../scripts/lib/postgres-server.mjs';
import { waitUntil } from '../support/database.ts';
import { configuration, openDisasterSite, whyNoDisaster, type DisasterSite } from '../support/disaster.ts';
import { sectionBlocks } from '../support/examples.ts';

const document = fs.readFileSync(
  path.resolve(import.meta.dirname, '..', '..', 'docs', 'disaster-recovery.md'),
  'utf8',
);
/** Stand for a moment and for a dump of the database in the document. */
const shownDump = '20261121T013000Z-6c1d9e20';
const shownTime = '2026-11-21 14:29:00+09';

const schema = [
  `create table public.orders (
     id bigint generated always as identity primary key, at timestamptz not null default clock_timestamp(),
     customer text not null)`,
  'create index on public.orders (customer)',
  "create type public.state as enum ('ok', 'bad')",
  'create table public.readings (at date not null, line int, state public.state) partition by range (at)',
  ...['09', '10', '11'].map(
    (month) =>
      `create table public.readings_y2026m${month} partition of public.readings
         for values from ('2026-${month}-01') to ('2026-${String(Number(month) + 1)}-01')`,
  ),
  "insert into public.readings select date '2026-09-01' + i, i, 'ok' from generate_series(0, 90) as i",
];

const insert = (count: number) =>
  `insert into public.orders (customer) select 'customer ' || i from generate_series(1, ${String(count)}) as i`;

/** All rows of a table, in one word. */
async function digest(db: DisasterSite['db'], table = 'public.orders'): Promise<string> {
  const [row] = await db.query<{ digest: string }>(
    `select count(*) || ':' || md5(string_agg(t::text, e'\\n' order by t::text)) as digest from ${table} as t`,
  );
  return row?.digest ?? '';
}

/** The time of the server, between two transactions. */
async function timeOf(db: DisasterSite['db']): Promise<string> {
  const [row] = await db.query<{ at: string }>(
    `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00' as at`,
  );
  return row?.at ?? '';
}

async function isOpen(db: DisasterSite['db']): Promise<boolean> {
  const [row] = await db.query<{ open: boolean }>('select not pg_is_in_recovery() as open');
  return row?.open === true;
}

const reason = whyNoDisaster();

describe.skipIf(reason !== undefined)(`disasters${reason === undefined ? '' : ` (${reason})`}`, () => {
  describe('of a server that goes on', () => {
    let site: DisasterSite;
    beforeAll(async () => {
      site = await openDisasterSite(schema);
      await site.db.query(insert(500));
      await site.ask('dbops backup create --kind base');
    });

    it('somebody deleted rows', async () => {
      await site.db.query(insert(100));
      const before = await digest(site.db);
      const time = await timeOf(site.db);
      await site.db.query('delete from public.orders where id % 2 = 0');
      await site.db.query(insert(1));
      const written = await digest(site.db, '(select * from public.orders order by id desc limit 1)');
      await site.archived();
      const port = await freePort();
      const names = { [shownTime]: time, '5433': String(port) };
      const [find, rows, whole, end] = sectionBlocks(document, 'Somebody deleted rows');
      const [, count] = await site.follow(find!, names);
      expect(count).toBe('600\n');
      await site.follow(rows!, names);
      expect(await digest(site.db, '(select * from public.orders where id <= 600)')).toBe(before);
      expect(await digest(site.db, '(select * from public.orders where id > 600)')).toBe(written);

      await site.db.query('drop table public.orders');
      await site.follow(whole!, names);
      expect(await digest(site.db)).toBe(before);
      await site.follow(end!, names);
      expect(fs.existsSync(path.join(site.dir, 'pg', 'beside'))).toBe(false);
    });

    it('a dropped table', async () => {
      const { id } = await site.ask<{ id: string }>('dbops backup create --kind logical');
      const dumped = await digest(site.db);
      await site.db.query('drop table public.orders');
      await site.follow(sectionBlocks(document, 'A dropped table').flat(), { [shownDump]: id });
      expect(await digest(site.db)).toBe(dumped);
      await site.db.query(insert(1));
    });

    it('a lost partition', async () => {
      const { id } = await site.ask<{ id: string }>(
        'dbops backup create --kind partition --table public.readings_y2026m10',
      );
      const before = await digest(site.db, 'public.readings');
      await site.db.query('drop table public.readings_y2026m10');
      expect(await digest(site.db, 'public.readings')).not.toBe(before);
      const shown = await site.follow(sectionBlocks(document, 'A lost partition').flat(), {
        [shownDump]: id,
      });
      expect(shown[0]).toContain('dbops partition attach public.readings_y2026m10');
      expect(shown[1]).toBe('31\n');
      expect(await digest(site.db, 'public.readings')).toBe(before);
    });

    it('a lost database', async () => {
      const { id } = await site.ask<{ id: string }>('dbops backup create --kind logical');
      const dumped = await digest(site.db);
      await site.db.query(insert(100));
      const before = await digest(site.db);
      const time = await timeOf(site.db);
      const [fromDump, fromWal] = sectionBlocks(document, 'A lost database');
      await site.archived();
      await site.drop();
      await site.follow(fromDump!, { [shownDump]: id });
      expect(await digest(site.db)).toBe(dumped);

      await site.drop();
      await site.archived();
      await site.follow(fromWal!, { [shownTime]: time, '5433': String(await freePort()) });
      expect(await digest(site.db)).toBe(before);
    });
  });

  const after = sectionBlocks(document, 'After a cluster was recovered').flat();

  it('a point in time', async () => {
    const site = await openDisasterSite(schema);
    await site.db.query(insert(500));
    await site.ask('dbops backup create --kind base');
    await site.db.query(insert(100));
    const before = await digest(site.db);
    const time = await timeOf(site.db);
    await site.db.query("update public.orders set customer = 'nobody'");
    await site.archived();
    const blocks = sectionBlocks(document, 'A point in time');
    await site.follow(blocks.flat(), { [shownTime]: time });
    expect(await digest(site.db)).toBe(before);
    await site.db.query(insert(1));
    await site.follow(after);
  });

  it('a bad migration', async () => {
    const site = await openDisasterSite(schema);
    await site.db.query(insert(500));
    const [deploy, back] = sectionBlocks(document, 'A bad migration');
    await site.follow(deploy!.slice(0, 1));
    await site.db.query(insert(100));
    const before = await digest(site.db);
    await site.follow(deploy!.slice(1));
    await site.db.query('alter table public.orders drop column customer');
    await site.db.query('delete from public.orders where id < 300');
    await site.follow(back!);
    expect(await digest(site.db)).toBe(before);
    await site.follow(after);
  });

  it('a damaged data directory', async () => {
    const site = await openDisasterSite(schema);
    await site.db.query(insert(500));
    await site.ask('dbops backup create --kind base');
    await site.db.query(insert(100));
    await site.archived();
    // Committed, and in no store yet.
    await site.db.query(insert(50));
    const before = await digest(site.db);
    const [file] = await site.db.query<{ path: string }>(
      "select pg_relation_filepath('public.orders') as path",
    );
    fs.writeFileSync(path.join(site.server.dataDir, file!.path), 'not a page');
    await site.follow(sectionBlocks(document, 'A damaged data directory').flat());
    await waitUntil(() => isOpen(site.db), { what: 'the end of the recovery', timeoutMs: 60_000 });
    expect(await digest(site.db)).toBe(before);
    await site.follow(after);
  });

  it('a lost region', async () => {
    const site = await openDisasterSite(schema);
    await site.db.query(insert(500));
    await site.ask('dbops backup create --kind base');
    await site.db.query(insert(100));
    const before = await digest(site.db);
    await site.archived();
    await site.server.kill9();
    for (const lost of ['local', 'spool', 'work']) fs.rmSync(path.join(site.dir, lost), { recursive: true });
    fs.writeFileSync(path.join(site.dir, 'etc', 'dbops.yaml'), configuration(site.dir, ['offsite']));
    site.renew();
    fs.rmSync(site.server.dataDir, { recursive: true });
    await site.follow(sectionBlocks(document, 'A lost region').flat());
    expect(await digest(site.db)).toBe(before);
    await site.follow(after);
  });
});

it('every heading of a disaster is in the table, and the other way round', () => {
  const headings = [...document.matchAll(/^## (.*)$/gm)].map(([, text = '']) => text);
  const table = [...document.matchAll(/^\| \[(.*?)\]\(#(.*?)\)/gm)].map(([, text = '', anchor]) => {
    expect(anchor).toBe(text.toLowerCase().replaceAll(' ', '-'));
    return text;
  });
  const others = ['Before anything else', 'After a cluster was recovered', 'Checklist'];
  expect(table).toEqual(headings.filter((text) => !others.includes(text)));
});
