import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byMonth, convert, createEvents, one } from '../support/convert.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase('convert_mend');
});

afterAll(() => db.drop());

/** Sends a dry run's script as psql would, in a session of its own that ends at the first error. */
async function runScript(script: string): Promise<void> {
  const client = await db.connect();
  for (const statement of statementsOf(script)) await client.query(statement);
}

function statementsOf(script: string): string[] {
  const lines = script.split('\n').filter((line) => !line.startsWith('\\') && !line.startsWith('--'));
  return lines
    .join('\n')
    .split(/;\n/)
    .filter((text) => text.trim() !== '');
}

describe('an undo', () => {
  it('does not drop a partition that appeared after it was planned', async () => {
    await createEvents(db, 'public.grown', 20);
    expect((await convert(db, ['grown', ...byMonth])).code).toBe(0);
    const script = await convert(db, ['grown', '--undo', '--dry-run']);
    expect(script.code).toBe(0);
    for (const text of [
      `create table public.late partition of public.grown for values from ('2095-01-01') to ('2096-01-01')`,
      `insert into public.grown (created_at) values ('2095-06-01')`,
    ])
      await db.query(text);
    await expect(runScript(script.stdout)).rejects.toThrow(
      'public.grown has other partitions than when the undo was planned',
    );
    expect(await one(db, 'select count(*)::int from public.late')).toBe(1);
    expect(await one(db, `select relkind::text from pg_class where oid = 'public.grown'::regclass`)).toBe(
      'p',
    );
  });

  it('does not drop rows in a branch below a planned partition', async () => {
    await createEvents(db, 'public.branched', 20);
    expect((await convert(db, ['branched', ...byMonth])).code).toBe(0);
    for (const text of [
      `create table public.branch partition of public.branched for values from ('2095-01-01') to ('2096-01-01') partition by range (created_at)`,
      `create table public.leaf partition of public.branch default`,
    ])
      await db.query(text);
    const script = await convert(db, ['branched', '--undo', '--dry-run']);
    expect(script.code).toBe(0);
    await db.query(`insert into public.branched (created_at) values ('2095-06-01')`);
    await expect(runScript(script.stdout)).rejects.toThrow('partition branch has rows now');
    expect(await one(db, 'select count(*)::int from public.leaf')).toBe(1);
  });
});
