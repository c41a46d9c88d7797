// docs/backup-format.md, run as it stands there: each kind of backup becomes a database or a server without dbops.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runProgram, type CliResult } from '../support/cli.ts';
import {
  createDatabase,
  databaseUrl,
  openSession,
  ownDatabase,
  serverBinaries,
  type Querier,
  type TestDatabase,
} from '../support/database.ts';
import { startSite, whyNoBasebackup, type PhysicalSite } from '../support/physical.ts';
import { sharedDirectory } from '../support/wal.ts';
import { createWorkspace, type Workspace } from '../support/workspace.ts';

const document = path.resolve(import.meta.dirname, '..', '..', 'docs', 'backup-format.md');
const programs = `${serverBinaries()}${path.delimiter}${process.env['PATH'] ?? ''}`;

/** The blocks marked `sh` below a heading, as one script that stops at the first failure. */
function scriptOf(...headings: string[]): string {
  const text = fs.readFileSync(document, 'utf8');
  const blocks = headings.flatMap((heading) => {
    const [, after = ''] = text.split(`\n## By hand: ${heading}\n`);
    const [section = ''] = after.split('\n## ');
    const found = [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map((match) => match[1]!);
    expect(found.length, heading).toBeGreaterThan(0);
    return found;
  });
  return ['set -euo pipefail', ...blocks].join('\n');
}

it('runs every block that is marked sh', () => {
  const text = fs.readFileSync(document, 'utf8');
  const known = [
    ...['is it whole?', 'a logical backup', 'a streamed dump', 'a schema', 'tables', 'a base backup'],
    'one segment of WAL',
  ];
  const headings = [...text.matchAll(/^## By hand: (.*)$/gm)].map((match) => match[1]!);
  const withBlocks = headings.filter((heading) => {
    const [, after = ''] = text.split(`\n## By hand: ${heading}\n`);
    return (after.split('\n## ')[0] ?? '').includes('```sh');
  });
  expect(withBlocks).toEqual(known);
});

describe('dumps', () => {
  /** The database that the text makes. */
  const restored = 'shop_restored';
  const facts = `select (select count(*) from public.orders)::int as rows,
                        (select pg_catalog.sum(pg_catalog.hashtextextended(o::text, 0)) from public.orders as o)::text as hash,
                        (select count(*) from pg_catalog.pg_inherits)::int as leaves`;
  let database: TestDatabase;
  let work: Workspace;

  beforeAll(async () => {
    database = await createDatabase('by_hand');
    await database.query("create type public.state as enum ('new', 'paid')");
    await database.query(
      'create table public.orders (id bigint, at date not null, state public.state, note text) partition by range (at)',
    );
    for (const month of [1, 2]) {
      await database.query(
        `create table public.orders_${month} partition of public.orders for values from ('2026-0${month}-01') to ('2026-0${month + 1}-01')`,
      );
    }
    await database.query(`insert into public.orders
      select i, '2026-01-01'::date + (i % 50), 'paid', E'tab\\t' || i from generate_series(1, 2000) as i`);
    await database.query('create table public.other as select 1 as one');
    work = createWorkspace(database, '');
    work.configure(
      `stores:\n  near: { url: "file://${work.dir}/store" }\nbackup: { workDirectory: "${work.dir}" }\n`,
    );
  });
  afterAll(async () => {
    await drop();
    await database.drop();
  });

  const drop = () => database.query(`drop database if exists ${restored} with (force)`);

  async function folderOf(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await work.run(['backup', 'create', '--json', '--kind', ...args], {
      PATH: programs,
    });
    expect(code, stderr).toBe(0);
    const { data } = JSON.parse(stdout) as { data: { place: string } };
    return path.join(work.dir, 'store', data.place);
  }

  async function run(folder: string, ...headings: string[]): Promise<CliResult> {
    const url = new URL(database.url);
    const env = {
      ...{ PGHOST: url.hostname, PGPORT: url.port, PGUSER: url.username, PATH: programs },
      WORK: fs.mkdtempSync(path.join(work.dir, 'work-')),
    };
    return await runProgram(['bash', '-c', scriptOf(...headings)], { cwd: folder, env });
  }

  async function ask(query: string): Promise<unknown> {
    const session = await openSession(databaseUrl(database.url, restored));
    const rows = await session.query(query);
    await session.end();
    return rows;
  }

  it.each([
    ['logical', 'a logical backup', ['logical']],
    ['logical --stream', 'a streamed dump', ['logical', '--stream']],
    ['table', 'tables', ['table', '--table', 'public.orders']],
  ])('%s becomes an equal database', async (_, heading, args) => {
    await drop();
    const result = await run(await folderOf(...args), 'is it whole?', heading);
    expect(result.code, `${result.stdout}${result.stderr}`).toBe(0);
    expect(await ask(facts)).toEqual(await database.query(facts));
    const [{ there }] = (await ask("select to_regclass('public.other') is not null as there")) as [
      { there: boolean },
    ];
    expect(there).toBe(!args.includes('table'));
  });

  it('schema becomes a database without rows', async () => {
    await drop();
    const result = await run(await folderOf('schema'), 'is it whole?', 'a schema');
    expect(result.code, `${result.stdout}${result.stderr}`).toBe(0);
    expect(await ask(facts)).toMatchObject([{ rows: 0, leaves: 2 }]);
  });

  it('a flipped byte is found, in a file and in the manifest', async () => {
    const folder = await folderOf('schema');
    for (const [name, found] of [
      ['schema.sql.zst', 'schema.sql.zst: FAILED'],
      ['manifest.json', ''],
    ] as const) {
      const file = path.join(folder, name);
      const good = fs.readFileSync(file);
      const bad = Buffer.from(good);
      // In the manifest a letter of the host's name or the like: the rest of it still reads.
      const at = name === 'manifest.json' ? good.indexOf('"dbops": "') + 10 : 30;
      bad[at] = bad[at]! ^ 1;
      fs.writeFileSync(file, bad);
      const result = await run(folder, 'is it whole?');
      expect(result.code, name).not.toBe(0);
      expect(result.stdout).toContain(found);
      fs.writeFileSync(file, good);
    }
    expect((await run(folder, 'is it whole?')).code).toBe(0);
  });
});

describe('a base backup', () => {
  let site: PhysicalSite;

  beforeAll(async () => {
    if (whyNoBasebackup() === undefined) site = await startSite();
  });

  /** Runs a script as the user of the server, in a folder of the store. */
  async function run(folder: string, script: string, env: Record<string, string>): Promise<CliResult> {
    const { uid, gid } = fs.statSync(site.server.dataDir);
    execFileSync('chown', ['-R', `${uid}:${gid}`, site.store]);
    const own =
      process.getuid?.() === 0 ? ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'] : [];
    return await runProgram([...own, 'bash', '-c', script], {
      cwd: folder,
      env: { PATH: programs, HOME: '/', ...env },
    });
  }

  async function restore(
    folder: string,
  ): Promise<{ result: CliResult; db: Querier; stop: () => Promise<void> }> {
    const data = path.join(sharedDirectory('by-hand'), 'data');
    const port = String(site.server.port + 1);
    // The text starts a server with the port of its source; the test has that one running beside it.
    const env = {
      DATA: data,
      PGHOST: '127.0.0.1',
      PGPORT: port,
      PGUSER: site.server.user,
      SERVER_OPTIONS: `-p ${port} -k ${path.dirname(data)} -c listen_addresses=127.0.0.1`,
    };
    const result = await run(folder, scriptOf('is it whole?', 'a base backup'), env);
    const url = new URL(site.server.url);
    url.port = port;
    return {
      result,
      db: ownDatabase({ url: url.href }),
      stop: async () => {
        await run(folder, `pg_ctl -D '${data}' -m immediate -w stop`, {});
      },
    };
  }

  it('with its WAL in it, and a tablespace, becomes a server', async (context) => {
    const missing = whyNoBasebackup();
    if (missing !== undefined) return context.skip(missing);
    const place = sharedDirectory('by-hand-space');
    fs.chownSync(place, fs.statSync(site.server.dataDir).uid, fs.statSync(site.server.dataDir).gid);
    await site.db.query(`create tablespace beside location '${place}'`);
    await site.db.query('create table public.beside tablespace beside as select 42 as answer');
    const { folder, manifest } = await site.made('base');
    expect(manifest.physical?.wal).toBe('included');
    const { result, db, stop } = await restore(folder);
    try {
      expect(result.code, `${result.stdout}${result.stderr}`).toBe(0);
      expect(await db.query('select count(*)::int as rows from public.parts')).toEqual([{ rows: 10_000 }]);
      expect(await db.query('select answer from public.beside')).toEqual([{ answer: 42 }]);
    } finally {
      await stop();
      await site.db.query('drop table public.beside');
      await site.db.query('drop tablespace beside');
    }
  });

  it('goes on with the WAL of the store', async (context) => {
    const missing = whyNoBasebackup();
    if (missing !== undefined) return context.skip(missing);
    await site.archive();
    const { folder, manifest } = await site.made('base');
    expect(manifest.physical?.wal).toBe('archive');
    await site.db.query("update public.parts set said = 'later' where i <= 10");
    await site.archive();
    const { result, db, stop } = await restore(folder);
    try {
      expect(result.code, `${result.stdout}${result.stderr}`).toBe(0);
      expect(result.stdout).toContain('archive recovery complete');
      expect(await db.query("select count(*)::int as rows from public.parts where said = 'later'")).toEqual([
        { rows: 10 },
      ]);
    } finally {
      await stop();
    }
    const segments = await run(folder, scriptOf('one segment of WAL'), {});
    expect([segments.code, segments.stdout]).toEqual([0, '']);
  });
});
