// Restores of clusters that are not plain: with tablespaces, and with configurations that lie elsewhere.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { giveTo, startSite, whyNoBasebackup } from '../../support/physical.ts';
import { askAsOwner as ask, restoreSite as restore, stopServer } from '../../support/pitr.ts';
import { sharedDirectory } from '../../support/wal.ts';

const no15 = whyNoBasebackup();

describe.skipIf(no15 !== undefined)(`a cluster${no15 === undefined ? '' : ` (${no15})`}`, () => {
  it('is restored without the configuration that its backup lacks, and never onto its source', async () => {
    const site = await startSite();
    const { dataDir } = site.server;
    fs.appendFileSync(
      path.join(dataDir, 'postgresql.conf'),
      `\ndata_directory = '${dataDir}'\nrecovery_target_name = 'old'\n`,
    );
    const { id } = await site.made('base');
    const first = await restore(site, id);
    const found = ask(site, first, "select current_setting('data_directory'), count(*) from parts");
    await stopServer(first);
    expect(found).toBe(`${first.dataDirectory}|10000`);
    for (const name of ['postgresql.conf', 'pg_hba.conf', 'pg_ident.conf'])
      fs.rmSync(path.join(dataDir, name));
    const bare = await site.made('base');
    const second = await restore(site, bare.id);
    const count = ask(site, second, "select count(*), current_setting('max_connections') from parts");
    await stopServer(second);
    expect(count).toBe('10000|200');
  });

  it('is restored with its tablespaces elsewhere, and refuses to write over those of its source', async () => {
    const site = await startSite();
    const place = path.join(site.dir, 'fast');
    giveTo(site.server, place);
    await site.db.query(`create tablespace fast location '${place}'`);
    await site.db.query('create table apart tablespace fast as select generate_series(1, 1000) as i');
    await site.made('base');
    execFileSync('chmod', ['-R', 'a+rX', site.store]);
    const before = fs.readdirSync(place);
    const directory = path.join(sharedDirectory('restored'), 'data');
    const refused = await site.run([
      'restore',
      'pitr',
      '--to',
      'immediate',
      '--data-dir',
      directory,
      '--yes',
    ]);
    expect(refused.code, refused.stderr).toBe(4);
    expect(refused.stderr).toContain(`${place} is not empty`);
    expect(fs.existsSync(directory)).toBe(false);
    const to = path.join(sharedDirectory('tablespace'), 'fast');
    const result = await restore(site, '--tablespace-mapping', `${place}=${to}`);
    const found = ask(
      site,
      result,
      "select count(*), pg_tablespace_location(oid) from apart, pg_tablespace where spcname = 'fast' group by 2",
    );
    await stopServer(result);
    expect(found).toBe(`1000|${to}`);
    expect(fs.readdirSync(place)).toEqual(before);
  });
});
