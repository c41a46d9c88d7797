// `index ensure` and `index list`, in-process, and the exit codes of the commands.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureIndexes, planEnsure } from '../../../src/indexes/ensure.ts';
import { surveyIndexes } from '../../../src/indexes/list.ts';
import { runDbops } from '../../support/cli.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { folderWith } from '../../support/ensure.ts';
import { asJob, leaveInvalid, wanted } from '../../support/indexes.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase('index_ensure');
  await db.query(`
    create table public.orders (id bigint primary key, customer bigint not null, state text);
    create table public.lines (id bigint primary key, "order" bigint references public.orders)`);
});
afterAll(() => db.drop());

const specs = [
  wanted('public.orders', ['customer']),
  wanted('public.orders', ['state'], { name: 'by_state', where: "state = 'new'" }),
];

describe('index ensure', () => {
  it('creates what is missing, and has nothing to do the second time', async () => {
    await db.query('create index under_another_name on public.orders (customer)');
    const states = ({ indexes }: { indexes: { state: string }[] }) => indexes.map(({ state }) => state);
    const more = [...specs, wanted('public.lines', ['order'])];
    expect(states(await asJob(db, (job) => planEnsure(job, more)))).toEqual(['there', 'missing', 'missing']);
    expect(states(await asJob(db, (job) => ensureIndexes(job, more)))).toEqual([
      'there',
      'created',
      'created',
    ]);
    // One run, however many indexes it makes.
    expect(await db.query("select jsonb_array_length(plan -> 'changes') as changes from dbops.run")).toEqual([
      { changes: 2 },
    ]);
    await db.query('drop index public.lines_order_idx');
    const again = await asJob(db, async (job) => {
      const result = await ensureIndexes(job, specs);
      return { ...result, applied: job.applied.changes };
    });
    expect(again).toMatchObject({ applied: 0, problems: [] });
    expect(states(again)).toEqual(['there', 'there']);
  });

  it('tells drift and leaves it, and goes on behind a table that is not there', async () => {
    const others = [
      wanted('public.nowhere', ['a']),
      wanted('public.orders', ['state', 'id'], { name: 'by_state' }),
    ];
    expect(await asJob(db, (job) => ensureIndexes(job, others))).toMatchObject({
      problems: [{ table: 'public.nowhere', error: { code: 'table_not_found' } }],
      indexes: [
        { state: 'drift', index: 'public.by_state', detail: expect.stringContaining("'new'") as string },
      ],
    });
  });

  it('exits 6 by --check while something is missing, and 0 when it is there', async () => {
    const cwd = folderWith({ indexes: [{ table: 'public.orders', columns: ['id', 'state desc'] }] });
    const env = { DATABASE_URL: db.url };
    expect((await runDbops(['index', 'ensure', '--check'], { cwd, env })).code).toBe(6);
    expect((await runDbops(['index', 'ensure'], { cwd, env })).code).toBe(0);
    expect((await runDbops(['index', 'ensure', '--check'], { cwd, env })).code).toBe(0);
    const dropped = await runDbops(['index', 'drop', 'orders_id_state_idx'], { cwd, env });
    expect(dropped).toMatchObject({ code: 4, stdout: '' });
    const said = await runDbops(['index', 'drop', 'orders_id_state_idx', '--yes'], { cwd, env });
    expect(said.stdout).toContain('CREATE INDEX CONCURRENTLY orders_id_state_idx');
  });
});

describe('index list', () => {
  it('calls safe to drop only what the evidence is there for, with what makes it again', async () => {
    await db.query('create index twin on public.orders (customer)');
    await leaveInvalid(db, 'broken', 'public.orders (state)');
    const survey = (daysLater: number) =>
      asJob(db, (job) => surveyIndexes(job.db, new Date(job.now.getTime() + daysLater * 86_400_000)));
    const young = await survey(0);
    const by = (list: typeof young.indexes, name: string) =>
      list.find(({ index }) => index === `public.${name}`);
    expect(by(young.indexes, 'twin')).toMatchObject({
      traits: ['duplicate', 'unused'],
      isSafeToDrop: true,
      undo: ['CREATE INDEX CONCURRENTLY twin ON public.orders USING btree (customer);'],
    });
    expect(by(young.indexes, 'broken')).toMatchObject({ traits: ['invalid'], isSafeToDrop: true });
    expect(by(young.indexes, 'by_state')).toMatchObject({ traits: ['unused'], isSafeToDrop: false });
    expect(by(young.indexes, 'orders_pkey')).toMatchObject({ traits: [], isSafeToDrop: false, undo: null });
    expect(young.missing).toMatchObject([
      { table: 'lines', mend: 'dbops index create --table public.lines --columns order' },
    ]);
    const old = await survey(30);
    expect(by(old.indexes, 'by_state')).toMatchObject({ traits: ['unused'], isSafeToDrop: true });
    await db.query('begin; lock table public.orders in access exclusive mode');
    const locked = await survey(0);
    expect(by(locked.indexes, 'twin')).toMatchObject({ traits: ['duplicate', 'unused'], undo: null });
    await db.query('rollback');
  });
});
