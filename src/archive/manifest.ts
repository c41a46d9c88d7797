import * as z from 'zod/mini';
import { readManifest } from '../catalogue/manifest.ts';
import { tableDefinition } from './definition/definition.ts';

/** The version that this dbops writes; docs/archive-format.md describes it. */
export const manifestVersion = 1;

const text = z.string();
const count = z.int().check(z.nonnegative());
const sha256 = text.check(z.regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits'));
const instant = text.check(z.describe('ISO 8601, UTC'));
const name = z.object({ schema: text, name: text });

/** One object with rows, in COPY's text format, compressed. Rows end with a newline, which no value contains unescaped. */
const part = z.object({
  name: text.check(z.describe('The object below the archive, e.g. part-00000.copy.zst')),
  rows: count,
  sizeBytes: count.check(z.describe('As stored')),
  sha256: sha256.check(z.describe('Of the stored bytes')),
  plainBytes: count,
  plainSha256: sha256.check(z.describe('Of the bytes as read back and decompressed')),
  firstBlock: count.check(z.describe('Heap blocks of the source, from')),
  endBlock: z.nullable(count).check(z.describe('... up to and without; null: to the end')),
});

const columnSummary = z.object({
  name: text,
  min: z.nullable(text),
  max: z.nullable(text),
  nulls: count,
});

const parquetFile = z.object({
  name: text.check(z.describe('The object below the archive, e.g. parquet/part-00000.parquet')),
  rows: count,
  sizeBytes: count,
  sha256,
});
const parquetColumn = z.object({
  name: text,
  parquetName: text.check(z.describe('Another one where two names differ in case only')),
  type: text.check(z.describe('Of PostgreSQL')),
  parquetType: text,
  survives: z.boolean().check(z.describe('false: kept as text, exactly as in the parts')),
  why: text.check(z.describe('Why it does not survive; empty where it does')),
});

const manifest = z.object({
  formatVersion: z.literal(manifestVersion),
  id: text,
  createdAt: instant,
  createdBy: z.object({ dbops: text, host: text, osUser: text, databaseUser: text }),
  server: z.object({
    systemIdentifier: text,
    version: text,
    versionNum: count,
    encoding: text,
    lcMonetary: text,
  }),
  database: text,
  table: name.check(z.describe('The partitioned table')),
  partition: name,
  bounds: text.check(z.describe('FOR VALUES ..., as PostgreSQL prints it in UTC')),
  key: z.object({
    column: text,
    type: text,
    timezone: text,
    from: z.nullable(text).check(z.describe('Lower bound, inclusive: ISO 8601 or a number')),
    to: z.nullable(text).check(z.describe('Upper bound, exclusive')),
  }),
  settings: z.record(text, text).check(z.describe('Session settings pinned for the export')),
  snapshot: z.object({ id: text, xmin: text, xmax: text, lsn: text, at: instant }),
  rows: count,
  definition: tableDefinition,
  copiedColumns: z
    .array(text)
    .check(z.describe('Columns of the parts, in their order; generated ones are not among them')),
  columns: z.array(columnSummary),
  masked: z.array(z.object({ column: text, expression: text })),
  format: z.object({
    rows: z.literal('postgresql copy text'),
    encoding: z.literal('UTF8'),
    compression: z.literal('zstd'),
  }),
  parts: z.array(part),
  digest: z
    .nullable(text)
    .check(
      z.describe(
        'Sum over all rows of the sha256 of the line without its newline, modulo 2^256, hexadecimal; null: not made',
      ),
    ),
  schemaSql: z.object({ name: text, sizeBytes: count, sha256 }),
  parquet: z.nullable(z.object({ files: z.array(parquetFile), columns: z.array(parquetColumn) })),
  proof: z.enum(['bytes', 'digest', 'restore']),
  timings: z.object({
    exportMs: count.check(z.describe('Copying and reading back, which overlap, in milliseconds')),
  }),
});

/** What an archive is, beside its parts; written last. */
export type Manifest = z.infer<typeof manifest>;
export type ManifestPart = z.infer<typeof part>;

/** The JSON Schema of manifest.json, draft 2020-12. Fields that it does not name are allowed: later versions may add some. */
export function manifestJsonSchema(): unknown {
  return z.toJSONSchema(manifest, { io: 'input' });
}

/** Reads a manifest. Throws copy_damaged, or unsupported_version for one of a newer dbops. `place` is for the message. */
export function parseManifest(json: string, place: string): Manifest {
  const check = (value: unknown) => z.safeParse(manifest, value);
  return readManifest({ noun: 'archive', version: manifestVersion, contents: 'parts', check }, json, place);
}

/** Bytes of the parts as stored. */
export function storedBytesOf(manifest: Pick<Manifest, 'parts'>): number {
  return manifest.parts.reduce((sum, part) => sum + part.sizeBytes, 0);
}

/** As it is stored. */
export function writeManifest(value: Manifest): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
