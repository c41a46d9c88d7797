// "backup drill" of base backups: recovered between two marks of the source, without a trace on it.
import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { filesIn } from '../../support/archive-run.ts';
import { waitUntil } from '../../support/database.ts';
import { drill, failedIn, leftOvers, withFlippedByte } from '../../support/drill.ts';
import { startDrillSite, type BaseDrillSite } from '../../support/drill-site.ts';
import { giveTo, whyNoBasebackup, type MadeBackup } from '../../support/physical.ts';

const missing = whyNoBasebackup();
const nobody = { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/postgres' };

describe.skipIf(missing !== undefined)(
  `backup drill of a base backup${missing === undefined ? '' : ` (${missing})`}`,
  () => {
    let site: BaseDrillSite;
    let made: MadeBackup;
    let space: string;
    /** Segments that lie in the store, in order. */
    const segments = () =>
      filesIn(site.walFolder)
        .filter((name) => /[0-9A-F]{24}\.zst$/.test(name))
        .sort();

    beforeAll(async () => {
      site = await startDrillSite(['--data-checksums']);
      space = path.join(site.dir, 'space');
      giveTo(site.server, space);
      await site.db.query(`create tablespace apart location '${space}'`);
      await site.db.query(
        'create table far tablespace apart as select g as id from generate_series(1, 1000) as g',
      );
      await site.db.query('create unique index on parts (i)');
      made = await site.made('base');
      await site.db.query("update parts set said = 'second' where i <= 500");
      await site.archived();
    });

    it('reaches a mark of the source, proves what came back, and leaves nothing behind', async () => {
      site.set(
        '  drill: { directory: DIR, checks: { second: "select count(*) = 500 from parts where said = \'second\'" } }\n'.replace(
          'DIR',
          site.drills,
        ),
      );
      const spaceBefore = filesIn(space);
      const result = await drill(site);
      expect(result.code, JSON.stringify(result.report, null, 1)).toBe(0);
      expect(result.outcomes).toEqual({
        checksums: 'ok',
        pg_verifybackup: 'ok',
        restore: 'ok',
        target: 'ok',
        'mark before': 'ok',
        'mark after': 'ok',
        extensions: 'ok',
        collations: 'ok',
        pg_amcheck: 'ok',
        'row security': 'ok',
        'check: second': 'ok',
        'page checksums': 'ok',
        rto: 'ok',
        rpo: 'ok',
      });
      const { report } = result;
      expect(report).toMatchObject({ backup: made.id, kind: 'base', server: 'scratch', withoutSource: null });
      expect(report.reached).toContain(`recovery stopping at restore point "dbops_drill_${report.drill}"`);
      expect(report.replayedSegments).toBeGreaterThan(0);
      expect(report.fetchedBytes).toBeGreaterThan(1_000_000);
      expect(report.warnings.join()).toContain('archive_timeout is 0');
      expect(JSON.parse(fs.readFileSync(path.join(made.folder, 'drill.json'), 'utf8'))).toEqual(report);
      // Nothing of the copy is in the archive: it would be on timeline 2.
      await site.archived();
      expect(filesIn(site.walFolder).filter((name) => !/(^|\/)00000001/.test(name))).toEqual([]);
      expect(filesIn(space)).toEqual(spaceBefore);
      expect(await site.db.query('select * from dbops.drill_mark')).toEqual([]);
      expect(await site.db.query('select id, drill_passed from dbops.backup')).toEqual([
        { id: made.id, drill_passed: true },
      ]);
      expect(await site.db.query("select extname from pg_extension where extname = 'amcheck'")).toEqual([]);
    });

    it('takes another target, and says that it has no marks then', async () => {
      site.set();
      const [row] = await site.db.query<{ at: string }>(
        `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || 'Z' as at`,
      );
      await site.db.query('create table behind ()');
      await site.archived();
      const result = await drill(site, ['--to', `time:${row!.at}`]);
      expect(result.code, JSON.stringify(result.report.proofs)).toBe(0);
      expect(result.outcomes).toMatchObject({
        target: 'ok',
        'mark before': 'unknown',
        'mark after': 'unknown',
      });
      expect(result.report.target).toContain('time ');
    });

    it('works without the source, of which it knows nothing then', async () => {
      site.set('  promise: { pitrRpo: 1 day }\n');
      const result = await drill(site, [], nobody);
      expect(result.code, JSON.stringify(result.report.proofs)).toBe(0);
      expect(result.report.withoutSource).toContain('127.0.0.1:1');
      expect(result.outcomes).toMatchObject({
        restore: 'ok',
        target: 'ok',
        'mark before': 'unknown',
        'mark after': 'unknown',
      });
      expect(result.detail('mark before')).toContain('the source was not asked');
    });

    it('fails when what it lost or the time that it took exceeds the promise', async () => {
      site.set('  promise: { pitrRto: 1 ms, pitrRpo: 1 ms }\n');
      const result = await drill(site, [], nobody);
      expect(result.code).toBe(6);
      expect(failedIn(result)).toEqual(['rto', 'rpo']);
    });

    it('fails when a segment of WAL is missing', async () => {
      site.set();
      const name = path.join(
        site.walFolder,
        segments().find((item) => item.includes(made.manifest.physical!.stopWal))!,
      );
      const [next] = segments().slice(segments().findIndex((item) => name.endsWith(item)) + 1);
      const gone = path.join(site.walFolder, next!);
      fs.renameSync(gone, path.join(site.dir, 'gone'));
      try {
        const result = await drill(site, [], nobody);
        expect(result.code).toBe(6);
        expect(failedIn(result)).toEqual(['restore']);
        expect(result.detail('restore')).toContain(path.basename(next!, '.zst'));
      } finally {
        fs.renameSync(path.join(site.dir, 'gone'), gone);
      }
    });

    it('fails when a byte of a segment of WAL is another', async () => {
      const name = segments().find((item) => item.includes(made.manifest.physical!.stopWal))!;
      const result = await withFlippedByte(path.join(site.walFolder, name), () => drill(site, [], nobody));
      expect(result.code).toBe(6);
      expect(failedIn(result)).toEqual(['restore']);
      expect(result.detail('restore')).toContain(made.manifest.physical!.stopWal);
    });

    it.each(['base.tar.zst', 'backup_manifest', 'tablespace'])(
      'fails when a byte of %s is another',
      async (name) => {
        const file = name === 'tablespace' ? made.manifest.physical!.tablespaces[0]!.file : name;
        const result = await withFlippedByte(path.join(made.folder, file), () => drill(site, [], nobody));
        expect(result.code).toBe(6);
        expect(failedIn(result)).toContain('checksums');
        expect(result.detail('checksums')).toContain(file);
      },
    );

    it('refuses a directory that belongs to a server', async () => {
      for (const directory of [path.join(site.server.dataDir, 'pg_wal'), space]) {
        site.set(`  drill: { directory: ${directory} }\n`);
        for (const env of [{}, nobody]) {
          const { code, stderr } = await site.run(['backup', 'drill'], env);
          expect(code, stderr).toBe(4);
          expect(stderr).toContain('belongs to a server');
        }
      }
      expect(filesIn(space).filter((name) => name.includes('dbops-drill'))).toEqual([]);
    });

    it('is swept by the next one when it was killed, its server with it', async () => {
      site.set(`  drill: { directory: ${site.drills}, checks: { slow: "select pg_sleep(60) is null" } }\n`);
      const running = site.spawn(['backup', 'drill'], nobody);
      await waitUntil(() => leftOvers(site).some((line) => line.includes('postgres')), {
        what: 'the server of the drill',
        timeoutMs: 30_000,
      });
      running.kill('SIGKILL');
      await running.done;
      expect(leftOvers(site).length).toBeGreaterThan(0);
      site.set();
      const result = await drill(site, [], nobody);
      expect(result.code, JSON.stringify(result.report.proofs)).toBe(0);
      expect(result.stderr).toContain('which a killed drill left');
    });
  },
);

it('a drill finds an index that is broken, in a cluster without checksums', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const site = await startDrillSite();
  await site.db.query('create table broken as select g as id from generate_series(1, 20000) as g');
  await site.db.query('create index broken_id on broken (id)');
  await site.db.query('checkpoint');
  const [row] = await site.db.query<{ file: string }>("select pg_relation_filepath('broken_id') as file");
  const file = path.join(site.server.dataDir, row!.file);
  const bytes = fs.readFileSync(file);
  // In the items of a leaf: the keys of some rows, not the structure of the page.
  for (let at = 2 * 8192 + 6000; at < 2 * 8192 + 6400; at += 1) bytes[at]! ^= 0x01;
  fs.writeFileSync(file, bytes);
  await site.made('base');
  const result = await drill(site, [], nobody);
  expect(result.code).toBe(6);
  expect(failedIn(result)).toEqual(['pg_amcheck']);
  expect(result.detail('pg_amcheck')).toContain('broken_id');
  expect(result.outcomes['page checksums']).toBe('unknown');
});
