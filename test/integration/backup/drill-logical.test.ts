// "backup drill" of dumps: on a server of its own and on one that is given.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, openSession, type TestDatabase } from '../../support/database.ts';
import {
  drill,
  drillDirectory,
  failedIn,
  leftOvers,
  withFlippedByte,
  withManifest,
  type DrillSite,
} from '../../support/drill.ts';
import {
  clientDirectory,
  createBackup,
  fillDatabase,
  logicalSetup,
  logicalYaml,
  whyNoDump,
  type LogicalSetup,
} from '../../support/logical-backup.ts';

const missing = whyNoDump();

describe.skipIf(missing !== undefined)(
  `backup drill of a dump${missing === undefined ? '' : ` (${missing})`}`,
  () => {
    let db: TestDatabase;
    let setup: LogicalSetup;
    let site: DrillSite;
    let folder: string;
    let id: string;
    let role: string;
    /** Replaces what stands below "backup:". */
    const configure = (more = '') =>
      setup.configure(
        logicalYaml(
          setup.store,
          setup.work,
          `${more}${/^ {2}drill:/m.test(more) ? '' : `  drill: { directory: ${site.drills} }\n`}`,
        ),
      );

    beforeAll(async () => {
      db = await createDatabase('drill');
      await fillDatabase(db);
      role = `drill_${db.name.slice(-10)}`;
      await db.query(`create role ${role}`);
      await db.query(
        `create table tenants as select g as id, g % 4 as tenant from generate_series(1, 40) as g`,
      );
      await db.query(`alter table tenants enable row level security`);
      await db.query(`create policy own on tenants for select to ${role} using (tenant = 1)`);
      await db.query(`grant select on tenants to ${role}`);
      setup = logicalSetup(db);
      const path_ = `${clientDirectory() ?? ''}${path.delimiter}${process.env['PATH'] ?? ''}`;
      site = {
        drills: drillDirectory(setup.dir),
        run: (args, env) => setup.run(args, { PATH: path_, ...env }),
      };
      configure();
      const made = await createBackup(setup, ['--kind', 'logical'], { PATH: path_ });
      folder = made.folder;
      id = made.manifest.id;
    });
    afterAll(async () => {
      await db.query(`drop owned by ${role}`);
      await db.query(`drop role ${role}`);
      await db.drop();
    });

    it('restores the newest one on a server of its own, and proves what came back', async () => {
      configure(
        `  drill: { directory: ${site.drills}, checks: { lines: "select count(*) = 20000 from log_lines", orders: "select exists (select from shop.orders)" } }\n`,
      );
      const result = await drill(site);
      expect(result.code, JSON.stringify(result.report.proofs, null, 1)).toBe(0);
      expect(result.outcomes).toMatchObject({
        checksums: 'ok',
        restore: 'ok',
        rows: 'ok',
        hashes: 'ok',
        sequences: 'ok',
        'large objects': 'ok',
        roles: 'ok',
        extensions: 'ok',
        'row security': 'ok',
        'check: lines': 'ok',
        'check: orders': 'ok',
        rto: 'ok',
        rpo: 'ok',
      });
      expect(result.detail('row security')).toBe(
        `public.tenants: role ${role} sees 10 rows, and its policies allow 10`,
      );
      expect(result.report).toMatchObject({
        backup: id,
        passed: true,
        server: 'scratch',
        withoutSource: null,
        keptIn: null,
      });
      const { restoreSeconds, seconds, rpo } = result.report;
      expect(restoreSeconds).toBeCloseTo(seconds.fetch! + seconds.restore! + seconds.open!, 6);
      expect(rpo.seconds).toBeGreaterThan(0);
      const stored = JSON.parse(fs.readFileSync(path.join(folder, 'drill.json'), 'utf8')) as object;
      expect(stored).toEqual(result.report);
      expect(await db.query('select drill_passed, drilled_at from dbops.backup')).toEqual([
        { drill_passed: true, drilled_at: new Date(result.report.at) },
      ]);
      expect(fs.existsSync(path.join(folder, 'pins'))).toBe(false);
    });

    it.each([
      ['the contents', /^toc\.dat\.zst$/],
      ['a table', /^\d+\.dat\.zst$/],
      // From 17 on there are several of them, each with a number.
      ['the list of large objects', /^blobs(_\d+)?\.toc\.zst$/],
      ['the roles', null],
    ])('fails when a byte of %s is another', async (_, name) => {
      configure();
      const inDump = () => fs.readdirSync(path.join(folder, 'dump')).find((entry) => name?.test(entry));
      const file = path.join(folder, name === null ? 'globals.sql.zst' : `dump/${inDump()!}`);
      const result = await withFlippedByte(file, () => drill(site));
      expect(result.code).toBe(6);
      expect(failedIn(result)).toEqual(expect.arrayContaining(['checksums', 'restore']));
      expect(result.detail('checksums')).toContain(path.basename(file));
      expect(result.outcomes['rto']).toBe('unknown');
    });

    it('does not take a manifest in which a byte is another for a backup', async () => {
      const file = path.join(folder, 'manifest.json');
      const { code, stderr } = await withFlippedByte(file, () => site.run(['backup', 'drill', '--id', id]));
      expect(code).toBe(7);
      expect(stderr).toContain('manifest');
    });

    it('fails when a table has fewer rows than were recorded, or others, and tells the hook', async () => {
      const heard = path.join(setup.dir, 'heard');
      configure(`  onFailure: cat > ${heard}\n`);
      const result = await withManifest(
        folder,
        (manifest) => {
          const table = (name: string) => manifest.logical!.tables.find((item) => item.name === name)!;
          table('log_lines').rows = 20_001;
          table('tenants').hash = '1';
        },
        () => drill(site),
      );
      expect(result.code).toBe(6);
      expect(failedIn(result)).toEqual(['rows', 'hashes']);
      expect(result.detail('hashes')).toContain('the rows of public.tenants are not those of the backup');
      expect(result.detail('rows')).toContain('public.log_lines has 20000 rows, and the backup has 20001');
      expect(JSON.parse(fs.readFileSync(heard, 'utf8'))).toMatchObject({
        event: 'drill_failed',
        backup: id,
        failed: [{ name: 'rows' }, { name: 'hashes' }],
      });
      expect((await db.query('select drill_passed from dbops.backup'))[0]).toEqual({ drill_passed: false });
    });

    it('fails when an assertion is false, or cannot be asked, and when it took too long', async () => {
      const checks =
        '{ none: "select count(*) = 0 from log_lines", broken: "select 1 / 0 = 1", two: "select true; select true" }';
      configure(`  promise: { rto: 1 ms }\n  drill: { directory: ${site.drills}, checks: ${checks} }\n`);
      const result = await drill(site);
      expect(result.code).toBe(6);
      expect(failedIn(result)).toEqual(['check: none', 'check: broken', 'check: two', 'rto']);
      expect(result.detail('check: none')).toContain('it returned false');
      expect(result.detail('rto')).toMatch(/exceeds the promise: .*, and 1 ms is promised/);
    });

    it('works when the source is gone: only the stores are needed', async () => {
      configure();
      const result = await drill(site, [], { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/gone' });
      expect(result.code, result.stderr).toBe(0);
      expect(result.report.withoutSource).toContain('127.0.0.1:1');
      expect(result.outcomes['rows']).toBe('ok');
    });

    it('uses a database of its own on a server that is given, and says that it is the source', async () => {
      configure(`  drill: { directory: ${site.drills}, url: "${db.url}" }\n`);
      const made = "datname ~ '^dbops_drill_[0-9a-f]{12}$'";
      const names = async () => (await db.query(`select from pg_database where ${made}`)).length;
      const before = await names();
      const result = await drill(site);
      expect(result.code, JSON.stringify(result.report.proofs, null, 1)).toBe(0);
      expect(result.report.server).toBe('url');
      expect(result.report.warnings.join()).toContain('the very server that the backup is of');
      expect(await names()).toBe(before);
      expect(await db.query('select count(*)::int as rows from log_lines')).toEqual([{ rows: 20_000 }]);
    });

    it('leaves what it restored when it is told to, and says where', async () => {
      configure();
      const result = await drill(site, ['--keep']);
      expect(result.code).toBe(0);
      expect(fs.existsSync(path.join(result.report.keptIn!, 'PG_VERSION'))).toBe(true);
      fs.rmSync(path.dirname(result.report.keptIn!), { recursive: true });
      expect(leftOvers(site)).toEqual([]);
    });

    it('excludes a second drill, and refuses what it cannot do', async () => {
      const session = await openSession(db.url);
      // The class and the number of the lock of drills.
      await session.query('select pg_advisory_lock(1684172656, 6)');
      const second = await site.run(['backup', 'drill']);
      expect(second.code).toBe(4);
      expect(second.stderr).toContain('backup drill');
      await session.end();
      for (const args of [
        ['--id', ''],
        ['--id', 'x', '--latest'],
        ['--kind', 'table'],
      ])
        expect((await site.run(['backup', 'drill', ...args])).code).toBe(2);
    });
  },
);
