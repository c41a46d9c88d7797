import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byMonth, convert, createEvents, one } from '../support/convert.ts';
import { createDatabase, openSession, waitUntil, type TestDatabase } from '../support/database.ts';
import { folderWith } from '../support/ensure.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('convert_live');
});

afterAll(() => db.drop());

interface Writers {
  ids: string[];
  errors: string[];
  longestMs: () => number;
  reset: () => void;
  stop: () => Promise<void>;
}

/** Four connections with fifty inserts a second each: two with simple queries, two with prepared ones. */
async function startWriters(table: string, columns = 'payload'): Promise<Writers> {
  const ids: string[] = [];
  const errors: string[] = [];
  let longest = 0;
  let isOver = false;
  const run = async (number: number): Promise<void> => {
    const client = new pg.Client(db.url);
    client.on('error', (error) => errors.push(error.message));
    await client.connect();
    const text = `insert into ${table} (${columns}) values ($1) returning *`;
    for (let turn = 0; !isOver; turn += 1) {
      const started = performance.now();
      try {
        const { rows } = await (number % 2 === 0
          ? client.query<{ id: string }>(text.replace('$1', `'writer ${number}'`))
          : client.query<{ id: string }>({ name: `write_${table}`, text, values: [`writer ${number}`] }));
        ids.push(rows[0]!.id);
        if (turn % 10 === 0)
          await client.query({
            name: 'read',
            text: `select * from ${table} where id = $1`,
            values: [rows[0]!.id],
          });
      } catch (error) {
        errors.push((error as Error).message);
      }
      longest = Math.max(longest, performance.now() - started);
      await sleep(20);
    }
    await client.end();
  };
  const all = [0, 1, 2, 3].map(run);
  await waitUntil(() => ids.length > 20, { what: 'the writers to begin' });
  return {
    ids,
    errors,
    longestMs: () => longest,
    reset: () => (longest = 0),
    stop: async () => {
      isOver = true;
      await Promise.all(all);
    },
  };
}

describe('a live table', () => {
  it('is converted under writers without a failed statement, and undone again', async () => {
    await createEvents(db, 'public.events', 200_000);
    const writers = await startWriters('public.events');
    const result = await convert(db, ['events', ...byMonth]);
    await sleep(300);
    const afterConvert = writers.ids.length;
    expect(result.stderr).not.toContain('dbops:');
    expect(result.code).toBe(0);
    const undone = await convert(db, ['events', '--undo']);
    expect(undone.stderr).not.toContain('dbops:');
    expect(undone.code).toBe(0);
    await sleep(300);
    await writers.stop();
    expect(writers.errors).toEqual([]);
    expect(writers.ids.length).toBeGreaterThan(afterConvert);
    expect(new Set(writers.ids).size).toBe(writers.ids.length);
    expect(await one(db, 'select count(*)::int from public.events')).toBe(200_000 + writers.ids.length);
    // The target is 500 ms; a noisy machine gets three times as much.
    expect(writers.longestMs()).toBeLessThan(1500);
  });

  it('does not stall writers behind a long reader, names it at the deadline, and goes on in the next run', async () => {
    await db.query('create table public.dim (id int primary key)');
    await db.query('insert into public.dim values (1)');
    await createEvents(db, 'public.held', 2000);
    await db.query('alter table public.held add foreign key (tenant) references public.dim (id) not valid');
    await db.query('update public.held set tenant = 1');
    await db.query('alter table public.held validate constraint held_tenant_fkey');
    const writers = await startWriters('public.held');
    const reader = await openSession(db.url);
    const cwd = folderWith({ locking: { deadline: '3s' } });
    const begun = (): Promise<string | null> =>
      one(
        db,
        `select max(obj_description(oid, 'pg_constraint')) from pg_constraint where conname = 'dbops_cutover'`,
      );

    // On the table itself: the CHECK cannot be added, the index is there.
    await reader.begin();
    await reader.query('select count(*) from public.held');
    const first = await convert(db, ['held', ...byMonth], { cwd });
    expect(first.code).toBe(5);
    expect(first.stderr).toContain(`pid ${reader.pid}`);
    expect(await begun()).toBeNull();
    await reader.query('rollback');

    // On the target of a foreign key: everything but the swap is done.
    await reader.begin();
    await reader.query('select count(*) from public.dim');
    const second = await convert(db, ['held', ...byMonth], { cwd });
    expect(second.code).toBe(5);
    expect(second.stderr).toContain(`pid ${reader.pid}`);
    expect(await begun()).toContain('dbops:converting');
    expect(writers.errors).toEqual([]);
    await reader.query('rollback');
    await reader.end();

    const third = await convert(db, ['held', ...byMonth], { cwd });
    expect(third.stderr).not.toContain('unique index');
    expect(third.code).toBe(0);
    await sleep(200);
    await writers.stop();
    expect(writers.errors).toEqual([]);
    expect(writers.longestMs()).toBeLessThan(1500);
    expect(await one(db, 'select count(*)::int from public.held')).toBe(2000 + writers.ids.length);
  });

  it('reads nothing and builds nothing under a strong lock', async () => {
    await createEvents(db, 'public.quiet', 2000);
    const script = await convert(db, ['quiet', ...byMonth, '--dry-run']);
    expect(script.code).toBe(0);
    const client = new pg.Client(db.url);
    const notices: string[] = [];
    client.on('notice', (notice) => notices.push(notice.message ?? ''));
    await client.connect();
    const [prepare, swap] = splitAtSwap(script.stdout);
    for (const statement of prepare) await client.query(statement);
    await client.query('set client_min_messages = debug1');
    await client.query(swap);
    await client.end();
    expect(notices.join('\n')).toContain(
      'partition constraint for table "quiet_legacy" is implied by existing constraints',
    );
    expect(
      notices.filter((text) =>
        /verifying table "quiet_legacy"|building index .* on table "quiet_legacy"|rewriting/.test(text),
      ),
    ).toEqual([]);
    expect(
      await one(db, `select count(*)::int from pg_inherits where inhparent = 'public.quiet'::regclass`),
    ).toBeGreaterThan(2);
  });
});

/** The script's statements before the last transaction, one by one, and that transaction. */
function splitAtSwap(script: string): [string[], string] {
  const lines = script.split('\n').filter((line) => !line.startsWith('\\') && !line.startsWith('--'));
  const at = lines.lastIndexOf('begin;');
  const prepare = lines.slice(0, at).filter((line) => line !== '');
  return [prepare, lines.slice(at).join('\n')];
}
