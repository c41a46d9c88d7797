// What `index list` calls safe to drop: never two indexes of which one has to stay.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { surveyIndexes, type ListedIndex } from '../../../src/indexes/list.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../../support/database.ts';
import { createRole, findingsOf } from '../../support/health.ts';
import { asJob } from '../../support/indexes.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('index_list');
});
afterAll(() => db.drop());

/** A month on, so that a week of statistics is behind us. */
async function survey(): Promise<Map<string, ListedIndex>> {
  const { indexes } = await asJob(db, (job) =>
    surveyIndexes(job.db, new Date(job.now.getTime() + 30 * 86_400_000)),
  );
  return new Map(indexes.map((index) => [index.index.replace('public.', ''), index]));
}

describe('index list', () => {
  it('tells of two indexes that can do the same work only one to go', async () => {
    await db.query(`
      create table public.calls (a int, b int, c int);
      insert into public.calls select n, n, n from generate_series(1, 2000) as n;
      analyze public.calls;
      create index calls_ab on public.calls (a, b);
      create index calls_a on public.calls (a);
      create index calls_a_some on public.calls (a) where b > 5;
      create index calls_bc on public.calls (b, c);
      create index calls_c on public.calls (c);
      create index calls_c_again on public.calls (c)`);
    // A session that ends tells the statistics what it read.
    const reader = await openSession(db.url);
    await reader.query('set enable_seqscan = off');
    await reader.query('set enable_bitmapscan = off');
    for (const column of ['a', 'c']) await reader.query(`select b from public.calls where ${column} = 7`);
    await reader.end();
    const listed = await waitUntil(
      async () => {
        const found = await survey();
        const read = [...found.values()].filter(({ scans }) => scans > 0);
        return read.length === 2 ? found : null;
      },
      { what: 'the scans in the statistics' },
    );
    const told = (name: string) => {
      const { traits, isSafeToDrop } = listed.get(name)!;
      return [traits.filter((trait) => trait !== 'unused').join(), isSafeToDrop];
    };
    // The planner reads the smaller one. Were the larger one told to go as well, nothing would be left.
    expect(told('calls_a')).toEqual(['redundant', true]);
    expect(told('calls_ab')).toEqual(['', false]);
    expect(listed.get('calls_ab')!.notes.join()).toContain('what public.calls_a is read for');
    expect(told('calls_bc')).toEqual(['', true]);
    expect(told('calls_a_some')).toEqual(['', true]);
    expect(told('calls_c')[1]).toBe(false);
    expect(told('calls_c_again')).toEqual(['duplicate', true]);
    const unused = await findingsOf(db, ['indexes.unused'], {
      facts: { countedSince: new Date('2020-01-01T00:00:00Z') },
      thresholds: { 'indexes.unused': { warn: 1 } },
    });
    const names = unused.map(({ object }) => object);
    expect(names).toContain('public.calls_bc');
    expect(names).not.toContain('public.calls_ab');
    expect(names).not.toContain('public.calls_c');
    await db.query('drop table public.calls');
  });

  it('keeps of two equal unique indexes the one that a foreign key leans on', async () => {
    await db.query(`
      create table public.parents (a int not null);
      create unique index parents_a on public.parents (a);
      create table public.children (a int references public.parents (a));
      create unique index parents_again on public.parents (a);
      alter table public.parents replica identity using index parents_again`);
    const listed = await survey();
    expect(listed.get('parents_a')!.isSafeToDrop).toBe(false);
    expect(listed.get('parents_again')).toMatchObject({ traits: ['duplicate'], isSafeToDrop: false });
    const findings = await findingsOf(db, ['indexes.duplicate']);
    expect(findings.map(({ object }) => object)).toEqual(['public.parents_again']);
    await db.query('drop table public.children, public.parents');
  });

  it('tells what is mostly air, of partitions too, and what cannot be estimated', async () => {
    await db.query(`
      create table public.notes (id int, at date not null) partition by range (at);
      create table public.notes_1 partition of public.notes for values from ('2026-01-01') to ('2026-02-01')
        with (autovacuum_enabled = off);
      create index notes_id on public.notes (id);
      create table public.plain (id int) with (autovacuum_enabled = off);
      create index plain_id on public.plain (id);
      create index plain_expression on public.plain ((id + 1));
      insert into public.notes select n, '2026-01-05' from generate_series(1, 20000) as n;
      insert into public.plain select n from generate_series(1, 20000) as n;
      delete from public.notes where id % 50 <> 0;
      delete from public.plain where id % 50 <> 0`);
    await db.query('vacuum analyze public.notes_1, public.plain');
    const look = (url: string) => asJob({ url }, (job) => surveyIndexes(job.db, job.now, 128 * 1024));
    const { indexes, unseen } = await look(db.url);
    const bloated = indexes.filter(({ traits }) => traits.includes('bloated'));
    expect(bloated.map(({ index }) => index)).toEqual([
      'public.plain_expression',
      'public.plain_id',
      'public.notes_1_id_idx',
    ]);
    expect(bloated[1]!.notes.join()).toContain('"dbops maintenance reindex --index public.plain_id"');
    expect(bloated.map(({ isSafeToDrop }) => isSafeToDrop)).toEqual([false, false, false]);
    expect(unseen).toEqual([]);
    // What makes a partitioned index again names the whole table, and no CONCURRENTLY, which it cannot have.
    expect(indexes.find(({ index }) => index === 'public.notes_id')).toMatchObject({
      traits: ['unused'],
      undo: ['CREATE INDEX notes_id ON public.notes USING btree (id);'],
    });
    const nobody = await createRole(db);
    const seen = await look(nobody.url);
    expect(seen.indexes.filter(({ traits }) => traits.includes('bloated'))).toEqual([]);
    expect(seen.unseen).toEqual([
      expect.stringContaining(`grant pg_read_all_data to ${nobody.name};`) as string,
    ]);
    await db.query('drop table public.notes, public.plain');
  });

  it('writes a command for a foreign key that can be run as it stands, whatever the names', async () => {
    await db.query(`
      create table public.parents (a int, b int, primary key (a, b));
      create table public."or.ders" ("a, b" int, "it's" int, foreign key ("a, b", "it's") references public.parents)`);
    const { missing } = await asJob(db, (job) => surveyIndexes(job.db, job.now));
    expect(missing.map(({ mend }) => mend)).toEqual([
      `dbops index create --table public.or.ders --columns '"a, b","it'\\''s"'`,
    ]);
    await db.query('drop table public."or.ders", public.parents');
  });
});
