// A database of many small tables, which is what questions to catalogs are slow on.
import { withClient } from './database.mjs';

/** The primary key, and two more. */
export const indexesEach = 3;

/**
 * Creates tables public.measured_1 and so on, of 20 rows each, vacuumed and analyzed.
 * @param {string} url
 * @param {number} count
 */
export async function createTables(url, count) {
  await withClient(url, async (client) => {
    // One transaction would need a lock for each of them.
    for (let from = 1; from <= count; from += 500) {
      const to = Math.min(count, from + 499);
      await client.query(`do $$ begin
        for n in ${from}..${to} loop
          execute format('create table public.measured_%s (id bigint generated always as identity primary key,
                            at timestamptz not null, machine int not null, note text)', n);
          execute format('create index on public.measured_%s (at)', n);
          execute format('create index on public.measured_%s (machine, at)', n);
          execute format('insert into public.measured_%s (at, machine, note)
                            select now(), g, md5(g::text) from generate_series(1, 20) as g', n);
        end loop;
      end $$`);
    }
    await client.query('vacuum analyze');
  });
}
