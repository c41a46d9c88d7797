// What npm publishes: packed, installed into an empty directory, and used there without the source tree.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runProgram, type CliResult } from '../support/cli.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const projectRoot = path.resolve(import.meta.dirname, '..', '..');
const manifest = JSON.parse(fs.readFileSync(path.join(projectRoot, 'package.json'), 'utf8')) as {
  version: string;
};

interface Packed {
  filename: string;
  size: number;
  files: { path: string }[];
}

let place: string;
let packed: Packed;
let installed: string;

beforeAll(async () => {
  expect(fs.existsSync(path.join(projectRoot, 'dist', 'main.js')), 'run "npm run build" first').toBe(true);
  place = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-package-'));
  installed = path.join(place, 'empty');
  fs.mkdirSync(installed);
  // Without scripts: prepack would build again, under the feet of the tests that run beside this one.
  const pack = await npm(['pack', '--ignore-scripts', '--json', '--pack-destination', place], projectRoot);
  expect(pack.code, pack.stderr).toBe(0);
  [packed] = JSON.parse(pack.stdout) as [Packed];
  // Everything is bundled, so no registry is asked for anything.
  const install = await npm(['install', '--offline', path.join(place, packed.filename)], installed);
  expect(install.code, install.stderr).toBe(0);
});

afterAll(() => fs.rmSync(place, { recursive: true, force: true }));

describe('the tarball', () => {
  it('is small, and holds the program, its licences and nothing that only developers need', () => {
    const paths = packed.files.map((file) => file.path);
    expect(packed.size).toBeLessThan(2_000_000);
    expect(paths).toEqual(
      expect.arrayContaining([
        'LICENSE',
        'bin/dbops.js',
        'dist/main.js',
        'dist/THIRD-PARTY-NOTICES.txt',
        'package.json',
      ]),
    );
    const allowed = /^(bin\/|dist\/[^/]+\.js$|dist\/[^/]+\.txt$|docs\/|[A-Z]+(\.md)?$|package\.json$)/;
    expect(paths.filter((file) => !allowed.test(file))).toEqual([]);
  });

  it('names no path of the machine that it was built on', () => {
    const bytes = gunzipSync(fs.readFileSync(path.join(place, packed.filename)));
    expect(bytes.includes(Buffer.from('dbops:'))).toBe(true);
    expect(bytes.includes(Buffer.from(projectRoot))).toBe(false);
  });

  it('carries the notices of the packages that are bundled', () => {
    const notices = fs.readFileSync(inPackage('dist', 'THIRD-PARTY-NOTICES.txt'), 'utf8');
    for (const name of ['commander', 'pg', 'pino', 'yaml', 'zod']) {
      expect(notices).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\((MIT|ISC)\\)$`, 'm'));
    }
    expect(notices).toContain('Permission is hereby granted');
  });
});

describe('the installed package', () => {
  it('brings no other packages', () => {
    const modules = fs.readdirSync(path.join(installed, 'node_modules'));
    expect(modules.filter((name) => !name.startsWith('.'))).toEqual(['dbops']);
    expect(fs.realpathSync(inPackage()).startsWith(projectRoot)).toBe(false);
  });

  it('says its version and what it can do', async () => {
    expect(await dbops(['--version'])).toMatchObject({
      code: 0,
      stdout: `${manifest.version}\n`,
      stderr: '',
    });
    const help = await dbops(['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain('dbops partition ensure');
  });

  it('creates partitions', async () => {
    const database = await createDatabase('package');
    try {
      await createTable(database);
      const env = { DATABASE_URL: database.url, DBOPS_TEST_NOW: '2026-07-15T00:00:00Z' };
      const first = await dbops(['partition', 'ensure', '--json'], env);
      expect(first.code, first.stderr).toBe(0);
      const { data } = JSON.parse(first.stdout) as { data: { created: { partition: string }[] } };
      expect(data.created.map(({ partition }) => partition)).toEqual([
        'public.readings_y2026m08',
        'public.readings_y2026m09',
      ]);
      const rows = await database.query(
        "select count(*)::int as partitions from pg_inherits where inhparent = 'public.readings'::regclass",
      );
      expect(rows).toEqual([{ partitions: 3 }]);
      expect((await dbops(['partition', 'ensure'], env)).stdout).toContain('nothing to create');
    } finally {
      await database.drop();
    }
  });
});

async function createTable(database: TestDatabase): Promise<void> {
  await database.query(
    'create table public.readings (id bigint, at timestamptz not null, primary key (id, at)) partition by range (at)',
  );
  await database.query(
    `create table public.readings_y2026m07 partition of public.readings
       for values from ('2026-07-01 00:00:00+00') to ('2026-08-01 00:00:00+00')`,
  );
  const configuration = [
    'partitions:',
    '  - { table: public.readings, key: at, interval: month, premake: 2 }',
  ];
  fs.writeFileSync(path.join(installed, 'dbops.yaml'), `${configuration.join('\n')}\n`);
}

function inPackage(...parts: string[]): string {
  return path.join(installed, 'node_modules', 'dbops', ...parts);
}

function dbops(args: string[], env: Record<string, string> = {}): Promise<CliResult> {
  return runProgram([path.join(installed, 'node_modules', '.bin', 'dbops'), ...args], {
    cwd: installed,
    env,
  });
}

function npm(args: string[], cwd: string): Promise<CliResult> {
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  const env = { npm_config_cache: path.join(place, 'cache'), npm_config_update_notifier: 'false' };
  return runProgram(['npm', ...args, ...quiet], { cwd, env });
}
