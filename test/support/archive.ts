// A table with months to archive, stores in directories, and dbops run on them.
import fs from 'node:fs';
import path from 'node:path';
import type { CliResult } from './cli.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { createWorkspace, type Workspace } from './workspace.ts';

export interface ArchiveSite {
  db: TestDatabase;
  work: Workspace;
  /** The directory of each store. */
  folder: (store: string) => string;
  /** Runs "dbops <args>" at the site's time, or at another. */
  run: (args: string[], now?: string) => Promise<CliResult>;
  /** The same with --json, which must exit as told. */
  json: <Data>(args: string[], now?: string, code?: number) => Promise<Data>;
  /** Every object of a store whose path ends so, as absolute paths. */
  files: (store: string, ending: string) => string[];
  configure: (options: SiteOptions) => void;
}

export interface SiteOptions {
  stores?: string[];
  retention?: string;
  /** Further lines of the table's entry and of the file. */
  entry?: string;
  file?: string;
}

export const siteNow = '2026-11-21T12:00:00Z';

/** public.events by month from May to November 2026 with 200 rows a month; hot for 3 months, so that May to July are due. */
export async function createArchiveSite(name: string, options: SiteOptions = {}): Promise<ArchiveSite> {
  const db = await createDatabase(name);
  await db.query(
    'create table events (id int8 not null, at timestamptz not null, note text) partition by range (at)',
  );
  for (const month of [5, 6, 7, 8, 9, 10, 11]) {
    await db.query(
      `create table events_${month} partition of events for values from ('2026-${month}-01 00:00:00+00') to ('2026-${month + 1}-01 00:00:00+00')`,
    );
    await db.query(
      `insert into events select g, '2026-${month}-02', repeat('x', g % 50) from generate_series(1, 200) as g`,
    );
  }
  const work = createWorkspace(db, '');
  const folder = (store: string) => path.join(work.dir, 'stores', store);
  const configure = ({
    stores = ['local', 'offsite'],
    retention = 'hot: 3 months, cold: 2 years',
    entry = '',
    file = '',
  }: SiteOptions) =>
    work.configure(`
locking: { deadline: 5s }
stores:
${stores.map((store) => `  ${store}: { url: "file://${folder(store)}" }`).join('\n')}
${file}
partitions:
  - table: public.events
    key: at
    interval: month
    premake: 1
    quarantine: 7 days
    retention: { ${retention} }
${entry}
`);
  configure(options);
  const run = (args: string[], now = siteNow) => work.run(args, { DBOPS_TEST_NOW: now });
  return {
    db,
    work,
    folder,
    configure,
    run,
    json: async <Data>(args: string[], now = siteNow, code = 0) => {
      const result = await run([...args, '--json'], now);
      if (result.code !== code)
        throw new Error(`dbops ${args.join(' ')} exits ${String(result.code)}: ${result.stderr}`);
      return (JSON.parse(result.stdout) as { data: Data }).data;
    },
    files: (store, ending) =>
      fs
        .readdirSync(folder(store), { recursive: true, withFileTypes: true })
        .filter((item) => item.isFile() && item.name.endsWith(ending))
        .map((item) => path.join(item.parentPath, item.name))
        .sort(),
  };
}
