import { createHash } from 'node:crypto';
import * as z from 'zod/mini';
import { backupKinds } from '../config/backup.ts';
import { damagedManifest, readManifest, type ManifestSort } from '../catalogue/manifest.ts';

/** The version that this dbops writes; docs/backup-format.md describes it. */
export const backupManifestVersion = 1;

const text = z.string();
const count = z.int().check(z.nonnegative());
const sha256 = text.check(z.regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits'));
const instant = text.check(z.describe('ISO 8601, UTC'));
const lsn = text.check(z.regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/, 'must be a position in the WAL'));
const name = { schema: text, name: text };

/** One object below the backup. Everything but the manifest itself is in the list. */
const file = z.object({
  name: text.check(z.describe('Below the folder of the backup, e.g. dump/3417.dat.zst')),
  sizeBytes: count.check(z.describe('As stored')),
  sha256: sha256.check(z.describe('Of the stored bytes')),
});

/** What a dump holds, as the catalog and its own snapshot had it. */
const logical = z.object({
  format: z
    .enum(['directory', 'custom', 'plain'])
    .check(z.describe('dump/ as of pg_dump -Fd, dump.custom.zst as of -Fc, or schema.sql.zst')),
  snapshot: z.object({ id: text, lsn: z.nullable(text), at: instant }),
  selected: z
    .nullable(z.array(z.object(name)))
    .check(z.describe('The tables that were asked for; null: the whole database')),
  excludedData: z.array(text).check(z.describe('Patterns of tables whose rows were left out')),
  tables: z.array(
    z.object({
      ...name,
      sizeBytes: count.check(z.describe('In the database, indexes left out')),
      rows: z.nullable(count).check(z.describe('In the snapshot of the dump; null: not counted')),
      hash: z
        .nullable(text)
        .check(z.describe('Sum of hashtextextended(row::text, 0) over all rows; null: not made')),
      dataExcluded: z.boolean(),
    }),
  ),
  sequences: z.array(z.object({ ...name, lastValue: z.nullable(text), isCalled: z.nullable(z.boolean()) })),
  extensions: z.array(z.object({ name: text, version: text, schema: text })),
  roles: z.array(text).check(z.describe('Roles that own something or are granted something')),
  largeObjects: count,
  collations: z.array(z.object({ ...name, provider: text, version: z.nullable(text) })),
  databaseSettings: z.object({
    encoding: text,
    collate: text,
    ctype: text,
    localeProvider: text,
    settings: z.array(text).check(z.describe('ALTER DATABASE ... SET, as name=value')),
  }),
  globals: z
    .nullable(text)
    .check(z.describe('The file with roles and tablespaces (pg_dumpall -g); null: could not be read')),
  rolePasswords: z.boolean().check(z.describe('Whether the globals hold the verifiers of passwords')),
});

/** What a base backup is, and what it needs. */
const physical = z.object({
  timeline: z.int().check(z.positive()),
  startLsn: lsn,
  stopLsn: lsn,
  startedAt: instant.check(z.describe('By the clock of the server')),
  stoppedAt: instant.check(
    z.describe(
      'By the same clock, at or shortly after stopLsn: what was committed later is not in the backup',
    ),
  ),
  startWal: text.check(z.describe('The first segment that is needed')),
  stopWal: text.check(z.describe('The last segment that is needed before the backup is consistent')),
  walSegmentBytes: z.int().check(z.positive()),
  wal: z
    .enum(['archive', 'included'])
    .check(z.describe('Whether the WAL that is needed lies in the archive of WAL or in the backup itself')),
  parent: z.nullable(text).check(z.describe('The backup that an incremental one builds on')),
  tablespaces: z.array(
    z.object({ oid: text, name: text, location: text, file: text.check(z.describe('e.g. 16384.tar.zst')) }),
  ),
  baseFile: text.check(z.describe('The tar of the data directory, e.g. base.tar.zst')),
  manifestFile: text.check(z.describe("PostgreSQL's own backup_manifest, plain")),
  dataChecksums: z.boolean(),
  settings: z
    .record(text, text)
    .check(z.describe('Settings that a recovery needs at least as large: max_connections and the like')),
  databases: z.array(
    z.object({ name: text, sizeBytes: z.nullable(count).check(z.describe('Null: this role may not ask')) }),
  ),
});

const pgbackrest = z.object({
  stanza: text,
  label: text.check(z.describe('e.g. 20261121-031500F')),
  type: z.enum(['full', 'diff', 'incr']),
  prior: z.nullable(text).check(z.describe('The label that it builds on')),
  repositories: z.array(z.int()).check(z.describe('Numbers of the repositories that it is in')),
  parent: z
    .nullable(text)
    .check(z.describe('The backup of ours that `prior` is; null: pgBackRest made that one by itself')),
  startedAt: instant,
  stoppedAt: instant,
  startLsn: z.nullable(lsn),
  stopLsn: z.nullable(lsn),
  startWal: z.nullable(text).check(z.describe('The first segment that is needed')),
  stopWal: z
    .nullable(text)
    .check(z.describe('The last segment that is needed before the backup is consistent')),
  archive: text.check(z.describe('Where its WAL lies in the repository, e.g. 15-1')),
  repositoryBytes: count.check(z.describe('What it added to the repository')),
});

const manifest = z.object({
  formatVersion: z.literal(backupManifestVersion),
  id: text,
  kind: z.enum(backupKinds),
  startedAt: instant,
  finishedAt: instant,
  reason: z.nullable(text).check(z.describe('Why it was made, in the words of who made it')),
  createdBy: z.object({ dbops: text, host: text, osUser: text, databaseUser: text }),
  server: z.object({ systemIdentifier: text, version: text, versionNum: count }),
  database: z.nullable(text).check(z.describe('Null: the whole cluster')),
  tools: z.record(text, text).check(z.describe('Versions of the programs that made it')),
  sourceBytes: count.check(z.describe('Size of what was backed up, in the database')),
  files: z.array(file),
  logical: z.nullable(logical),
  physical: z.nullable(physical),
  pgbackrest: z.nullable(pgbackrest),
});

/** Every other file's hash stands in the manifest; this one is the manifest's own, its last line but one. */
const ownSha256 = sha256.check(
  z.describe('Of all bytes of this file before the comma and the line break that this line follows'),
);
const ownLine = /^([^]*),\n {2}"sha256": "([0-9a-f]{64})"\n\}\n$/;

/** What a backup is, beside its files; written last. */
export type BackupManifest = z.infer<typeof manifest>;
export type BackupFile = z.infer<typeof file>;
export type LogicalPart = z.infer<typeof logical>;
export type PhysicalPart = z.infer<typeof physical>;
export type PgbackrestPart = z.infer<typeof pgbackrest>;

/** The JSON Schema of a backup's manifest.json, draft 2020-12. */
export function backupManifestJsonSchema(): unknown {
  return z.toJSONSchema(z.extend(manifest, { sha256: ownSha256 }), { io: 'input' });
}

const sort: ManifestSort<BackupManifest> = {
  noun: 'backup',
  version: backupManifestVersion,
  contents: 'files',
  check: (value) => z.safeParse(manifest, value),
};

/** Reads a manifest. Throws copy_damaged, or unsupported_version for one of a newer dbops. `place` is for the message. */
export function parseBackupManifest(json: string, place: string): BackupManifest {
  const read = readManifest(sort, json, place);
  const [, before = '', expected = ''] = ownLine.exec(json) ?? [];
  if (hashOf(before) === expected) return read;
  throw damagedManifest(sort, place, 'its sha256 is not that of what stands in it');
}

/** As it is stored, with its own hash at the end: one altered byte is found without another copy to compare with. */
export function writeBackupManifest(value: BackupManifest): string {
  const before = JSON.stringify(value, null, 2).slice(0, -2);
  return `${before},\n  "sha256": "${hashOf(before)}"\n}\n`;
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Bytes of a backup as stored, its manifest left out. */
export function storedBytesOf(backup: Pick<BackupManifest, 'files'>): number {
  return backup.files.reduce((sum, item) => sum + item.sizeBytes, 0);
}
