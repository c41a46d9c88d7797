// Several stores, of which one fails: the archive goes where it can, when that is enough.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  archiveSetup,
  archiveStates,
  archiveYaml,
  filesIn,
  makeTable,
  manifestsIn,
  now,
  startAfresh,
  type Setup,
} from '../../support/archive-run.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';

let db: TestDatabase;
let setup: Setup;
const folder = (name: string) => path.join(setup.dir, name);

beforeAll(async () => {
  db = await createDatabase('archive_copies');
  setup = archiveSetup(db);
});
afterAll(() => db.drop());

beforeEach(async () => {
  await startAfresh(setup);
  for (const name of ['one', 'two']) fs.rmSync(folder(name), { recursive: true, force: true });
  await makeTable(db);
});

function configure(required: number): void {
  setup.configure(
    archiveYaml(setup.store, {
      stores: ['one', 'two'].map((name) => `  ${name}: { url: "file://${folder(name)}" }\n`).join(''),
      top: `archive: { required: ${required} }`,
    }),
  );
}

for (const [broken, good] of [
  ['one', 'two'],
  ['two', 'one'],
] as const) {
  it(`goes on without "${broken}" where one copy is enough`, async () => {
    configure(1);
    // As where its disk is not mounted.
    fs.rmdirSync(folder(broken));
    const result = await setup.run(['archive', 'run', '--until', 'verified'], now);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain(`no copy in store "${broken}"`);
    expect(await archiveStates(db)).toMatchObject([{ state: 'verified', stores: [good] }]);
    expect(manifestsIn(folder(good))).toHaveLength(1);
  });

  it(`refuses without "${broken}" where both copies are required, and leaves nothing behind`, async () => {
    configure(2);
    // As where its disk is not mounted.
    fs.rmdirSync(folder(broken));
    const result = await setup.run(['archive', 'run'], now);
    expect(result.code, result.stderr).toBe(7);
    expect(filesIn(folder(good))).toEqual([]);
    expect(await db.query('select from pg_inherits')).toHaveLength(2);
    fs.mkdirSync(folder(broken));
    const next = await setup.run(['archive', 'run'], now);
    expect(next.code, next.stderr).toBe(0);
    expect((await archiveStates(db)).filter(({ state }) => state === 'proven')).toMatchObject([
      { stores: ['one', 'two'] },
    ]);
    // What could not be removed from the broken store is given up by the run that can ask it.
    expect((await archiveStates(db)).map(({ state }) => state)).not.toContain('exporting');
  });
}
