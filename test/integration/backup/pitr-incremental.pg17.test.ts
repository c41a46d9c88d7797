import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { giveTo, startSite } from '../../support/physical.ts';
import { askAsOwner as ask, restoreSite as restore, stopServer } from '../../support/pitr.ts';
import { postgres17Directory, whyNoPostgres17 } from '../../support/postgres17.ts';
import { sharedDirectory } from '../../support/wal.ts';

const no17 = whyNoPostgres17();

describe.skipIf(no17 !== undefined)(
  `a chain of incremental backups${no17 === undefined ? '' : ` (${no17})`}`,
  () => {
    it('is verified link by link, put together and restored, tablespaces included', async () => {
      const site = await startSite({ binDir: postgres17Directory(), settings: { summarize_wal: 'on' } });
      const place = path.join(site.dir, 'fast');
      giveTo(site.server, place);
      await site.db.query(`create tablespace fast location '${place}'`);
      await site.db.query('create table apart tablespace fast as select generate_series(1, 1000) as i');
      await site.made('base');
      await site.db.query("update parts set said = 'second' where i <= 10");
      await site.db.query('insert into apart values (0)');
      await site.made('incremental');
      await site.db.query("update parts set said = 'third' where i <= 5");
      const last = await site.made('incremental');
      const to = path.join(sharedDirectory('tablespace'), 'fast');
      const result = await restore(site, last.id, '--tablespace-mapping', `${place}=${to}`);
      const found = ask(
        site,
        result,
        "select (select string_agg(said || n, ' ' order by said) from (select said, count(*) as n from parts group by said) as s), count(*) from apart",
      );
      await stopServer(result);
      expect(found).toBe('first9990 second5 third5|1001');
      expect(fs.readdirSync(result.dataDirectory)).not.toContain('.dbops-restore');
    });
  },
);
