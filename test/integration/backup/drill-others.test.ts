// "backup drill" of what other programs put together: a chain of incremental backups, and a backup of pgBackRest.
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ownDatabase, serverBinaries } from '../../support/database.ts';
import { drill, drillDirectory, failedIn, withFlippedByte } from '../../support/drill.ts';
import { startDrillSite } from '../../support/drill-site.ts';
import { hasProgram } from '../../support/logical-backup.ts';
import { startPgbackrest, whyNoPgbackrest } from '../../support/pgbackrest.ts';
import { postgres17Directory, whyNoPostgres17 } from '../../support/postgres17.ts';
import { createWorkspace } from '../../support/workspace.ts';

const nobody = { DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/postgres' };

describe('a drill of an incremental backup', () => {
  it('puts the chain together and proves it, and fails when a link is damaged', async (context) => {
    const missing = whyNoPostgres17();
    if (missing !== undefined) return context.skip(missing);
    const site = await startDrillSite([], postgres17Directory());
    await site.db.query('alter system set summarize_wal = on');
    await site.db.query('select pg_reload_conf()');
    await site.archived();
    const base = await site.made('base');
    await site.db.query("update parts set said = 'second' where i <= 500");
    const made = await site.made('incremental');
    const good = await drill(site);
    expect(good.code, JSON.stringify(good.report, null, 1)).toBe(0);
    expect(good.report).toMatchObject({ backup: made.id, kind: 'incremental' });
    expect(good.outcomes).toMatchObject({
      pg_verifybackup: 'ok',
      target: 'ok',
      'mark before': 'ok',
      'mark after': 'ok',
    });
    const bad = await withFlippedByte(path.join(base.folder, 'base.tar.zst'), () => drill(site, [], nobody));
    expect(bad.code).toBe(6);
    expect(failedIn(bad)).toContain('restore');
    expect(bad.detail('restore')).toContain(base.id);
  });
});

describe('a drill of a backup of pgBackRest', () => {
  it('lets it restore to a mark of the source, and proves what came back', async (context) => {
    const missing = whyNoPgbackrest();
    if (missing !== undefined) return context.skip(missing);
    const site = await startPgbackrest();
    try {
      const work = createWorkspace(ownDatabase(site.server), '');
      const drills = drillDirectory(work.dir);
      work.configure(
        `stores:\n  near: { url: "file://${work.dir}/store" }\nbackup:\n  drill: { directory: ${drills} }\n${site.yaml}`,
      );
      const env = { PATH: `${serverBinaries()}${path.delimiter}${process.env['PATH'] ?? ''}` };
      const made = await work.run(['backup', 'create', '--kind', 'pgbackrest'], env);
      expect(made.code, made.stderr).toBe(0);
      const run = (args: string[], more: Record<string, string> = {}) => work.run(args, { ...env, ...more });
      const result = await drill({ run, drills });
      expect(result.code, JSON.stringify(result.report, null, 1)).toBe(0);
      expect(result.outcomes).toMatchObject({
        checksums: 'unknown',
        restore: 'ok',
        target: 'ok',
        'mark before': 'ok',
        'mark after': 'ok',
        // The servers of the matrix come without programs, and then nothing is promised.
        pg_amcheck: hasProgram('pg_amcheck') ? 'ok' : 'unknown',
        'page checksums': hasProgram('pg_checksums') ? 'ok' : 'unknown',
      });
    } finally {
      await site.stop();
    }
  });
});
