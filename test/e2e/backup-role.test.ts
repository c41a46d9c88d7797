// The role that the handbook makes can do what the handbook says of it.
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openDisasterSite, whyNoDisaster } from '../support/disaster.ts';

const handbook = fs.readFileSync(path.resolve(import.meta.dirname, '..', '..', 'docs', 'backup.md'), 'utf8');
const reason = whyNoDisaster();

describe.skipIf(reason !== undefined)(`the role${reason === undefined ? '' : ` (${reason})`}`, () => {
  it('makes dumps and base backups, sees every row, and changes no table', async () => {
    const site = await openDisasterSite([
      'create table public.orders (id bigint primary key, tenant int not null)',
      'insert into public.orders select i, i % 3 from generate_series(1, 300) as i',
      'alter table public.orders enable row level security, force row level security',
      'create policy own on public.orders using (tenant = 1)',
    ]);
    const [, sql = ''] = /^## The role$[^]*?```sql\n([^]*?)```/m.exec(handbook) ?? [];
    await site.db.query(sql);
    for (const kind of ['logical', 'base']) {
      const { code, stderr } = await site.run(`PGUSER=dbops_backup dbops backup create --kind ${kind}`);
      expect(code, stderr).toBe(0);
    }
    const [row] = await site.db.query<{ runs: number }>(
      "select count(*)::int as runs from dbops.run where command = 'backup create'",
    );
    expect(row?.runs).toBe(2);
    const refused = await site.run('PGUSER=dbops_backup psql -c "delete from public.orders"');
    expect(refused.stderr).toContain('permission denied');
  });
});
