// What lies in a store was damaged between the detach and the drop: the rows stay until it is whole again.
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  archiveSetup,
  archiveYaml,
  copyOf,
  expectNothingLost,
  expectTrueLedger,
  later,
  ledgerStates,
  makeTable,
  manifestsIn,
  now,
  startAfresh,
  type Setup,
} from '../support/archive-run.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
let setup: Setup;
let rows: string[];

beforeAll(async () => {
  db = await createDatabase('copy_damaged');
  setup = archiveSetup(db);
});
afterAll(() => db.drop());

beforeEach(async () => {
  await startAfresh(setup);
  await makeTable(db);
  rows = copyOf(db, 'events');
});

async function archive(): Promise<void> {
  const first = await setup.run(['archive', 'run'], now);
  expect(first.code, first.stderr).toBe(0);
  expect(await ledgerStates(db)).toEqual(['events_6 detached']);
}

const manifestOf = (store: string) => path.join(manifestsIn(store)[0]!.folder, 'manifest.json');
const partOf = (store: string) => path.join(manifestsIn(store)[0]!.folder, 'part-00000.copy.zst');

/** The same length, and none of the bytes: what a lost block of a disk looks like. */
const zero = (file: string) => fs.writeFileSync(file, Buffer.alloc(fs.statSync(file).size));

function edit(file: string, change: (manifest: Record<string, unknown>) => void): void {
  const manifest = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>;
  change(manifest);
  fs.writeFileSync(file, JSON.stringify(manifest));
}

async function expectDropped(): Promise<void> {
  const last = await setup.run(['archive', 'run'], later);
  expect(last.code, last.stderr).toBe(0);
  expect(await ledgerStates(db)).toEqual(['events_6 dropped']);
  await expectNothingLost(setup, rows);
}

describe('before the drop', () => {
  const damages: [string, (file: { manifest: string; part: string }) => void, RegExp][] = [
    [
      'a manifest that is cut',
      ({ manifest }) => fs.truncateSync(manifest, 200),
      /manifest\.json in store "cold" is not a manifest that can be read/,
    ],
    [
      'a manifest of zeros',
      ({ manifest }) => zero(manifest),
      /manifest\.json in store "cold" is not a manifest that can be read/,
    ],
    [
      'a manifest that is missing',
      ({ manifest }) => fs.rmSync(manifest),
      /there is no \S+manifest\.json in store "cold"/,
    ],
    [
      'a manifest of a newer version',
      ({ manifest }) =>
        edit(manifest, (found) => {
          found['formatVersion'] = 99;
        }),
      /version 99/,
    ],
    [
      'a manifest with no parts',
      ({ manifest }) =>
        edit(manifest, (found) => {
          found['parts'] = [];
        }),
      /store "cold"/,
    ],
    [
      'a manifest with neither parts nor rows',
      ({ manifest }) =>
        edit(manifest, (found) => {
          found['parts'] = [];
          found['rows'] = 0;
        }),
      /tells of 0 rows in 0 bytes, and the ledger of 20 in \d+/,
    ],
    [
      'the manifest of another archive',
      ({ manifest }) =>
        edit(manifest, (found) => {
          found['id'] = '20260101T000000Z-0000000000';
        }),
      /is that of archive 20260101T000000Z-0000000000/,
    ],
    ['a part of zeros', ({ part }) => zero(part), /part-00000\.copy\.zst/],
    ['a part that is cut', ({ part }) => fs.truncateSync(part, 10), /lacks part-00000\.copy\.zst/],
    ['a part that is missing', ({ part }) => fs.rmSync(part), /lacks part-00000\.copy\.zst/],
  ];
  for (const [name, damage, reason] of damages) {
    it(`${name}: refused, and dropped once it is whole again`, async () => {
      await archive();
      const files = { manifest: manifestOf(setup.store), part: partOf(setup.store) };
      const saved = [files.manifest, files.part].map((file) => [file, fs.readFileSync(file)] as const);
      damage(files);
      const refused = await setup.run(['archive', 'run'], later);
      expect(refused.code, refused.stderr).toBe(4);
      expect(refused.stderr).toMatch(
        /public\.events_6 is not dropped: archive \S+ is in 0 of the 1 stores that it has to be in/,
      );
      expect(refused.stderr).toMatch(reason);
      expect(await ledgerStates(db)).toEqual(['events_6 detached']);
      expect(copyOf(db, 'events', 'events_6').sort()).toEqual([...rows].sort());
      for (const [file, bytes] of saved) fs.writeFileSync(file, bytes);
      await expectTrueLedger(setup);
      await expectDropped();
    });
  }

  it('a store whose disk is not there: refused, and dropped once it is back', async () => {
    await archive();
    const away = `${setup.store}-away`;
    fs.renameSync(setup.store, away);
    const refused = await setup.run(['archive', 'run'], later);
    expect(refused.code, refused.stderr).toBe(4);
    expect(refused.stderr).toContain(`directory ${setup.store} of the store "cold" is not there`);
    expect(await ledgerStates(db)).toEqual(['events_6 detached']);
    expect(fs.existsSync(setup.store)).toBe(false);
    fs.renameSync(away, setup.store);
    await expectDropped();
  });

  it('one copy of two in zeros: dropped where one is required, refused where both are', async () => {
    const other = path.join(setup.dir, 'other');
    const configure = (required: number) =>
      setup.configure(
        archiveYaml(setup.store, {
          stores: `  cold: { url: "file://${setup.store}" }\n  other: { url: "file://${other}" }\n`,
          top: `archive: { copies: [cold, other], required: ${String(required)} }\n`,
        }),
      );
    fs.mkdirSync(other);
    configure(2);
    await archive();
    zero(partOf(other));
    const refused = await setup.run(['archive', 'run'], later);
    expect(refused.code, refused.stderr).toBe(4);
    expect(refused.stderr).toMatch(/is in 1 of the 2 stores/);
    expect(refused.stderr).toMatch(/part-00000\.copy\.zst in store "other"|store "other"/);
    expect(await ledgerStates(db)).toEqual(['events_6 detached']);
    configure(1);
    await expectDropped();
    setup.configure(archiveYaml(setup.store));
    fs.rmSync(other, { recursive: true });
  });
});
