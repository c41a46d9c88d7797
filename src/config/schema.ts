import * as z from 'zod/mini';
import { backup, wal } from './schema-backup.ts';
import { duration, name, size } from './schema-basics.ts';
import { health } from './schema-health.ts';
import { indexes } from './schema-indexes.ts';
import { maintenance } from './schema-maintenance.ts';
import { schedule } from './schema-schedule.ts';
import { timezone } from './schema-timezone.ts';
import { parseOlderThan } from './older-than.ts';

const premake = z
  .number()
  .check(
    z.int('must be a whole number'),
    z.minimum(0),
    z.maximum(1000),
    z.describe('Periods to have ready after the current one.'),
  );

export const intervalUnits = ['hour', 'day', 'week', 'month', 'quarter', 'year'] as const;
const interval = z
  .union([z.enum(intervalUnits), z.int().check(z.positive('must be greater than 0'))], {
    error: 'must be hour, day, week, month, quarter, year, or a number of ids',
  })
  .check(
    z.describe('Period of one partition: hour, day, week (ISO), month, quarter, year, or a number of ids.'),
  );

const retention = z.strictObject({
  hot: z
    .union([duration, z.int().check(z.positive('must be greater than 0'))], {
      error: 'must be a duration such as "90 days" or, for id ranges, a number of ids',
    })
    .check(z.describe('How long a partition stays attached, counted from its upper bound.')),
  cold: z.optional(duration).check(z.describe('Total age until which the archived copy is kept.')),
  then: z.optional(z.literal('delete')).check(z.describe('Delete without an archive, said explicitly.')),
});

const store = z.strictObject({
  url: name.check(z.describe('file:///absolute/path or s3://bucket/prefix; credentials never stand in it.')),
  region: z.optional(name),
  endpoint: z.optional(name).check(z.describe('URL of a server that speaks S3 and is not AWS.')),
  pathStyle: z
    .optional(z.boolean())
    .check(z.describe('http://endpoint/bucket instead of http://bucket.endpoint.')),
  profile: z.optional(name).check(z.describe('Profile of the AWS configuration files.')),
  accessKeyId: z.optional(name),
  secretAccessKey: z.optional(name).check(z.describe('Write it as ${VARIABLE}, or use secretAccessKeyFile.')),
  secretAccessKeyFile: z.optional(name).check(z.describe('A file whose first line is the secret key.')),
  kmsKeyId: z.optional(name).check(z.describe('SSE-KMS key for what is written.')),
  storageClass: z.optional(name).check(z.describe('e.g. STANDARD_IA or GLACIER_IR.')),
});

export const proofLevels = ['bytes', 'digest', 'restore'] as const;
const proof = z
  .enum(proofLevels)
  .check(
    z.describe(
      'bytes: read back, hashed and counted; digest: also compared row by row with the table; restore: also loaded into a scratch table and compared.',
    ),
  );

const archive = z.strictObject({
  copies: z
    .optional(z.array(name).check(z.minLength(1, 'must name a store')))
    .check(z.describe('Names of the stores that get a copy; all of them when it is left out.')),
  required: z
    .optional(z.int().check(z.positive('must be greater than 0')))
    .check(z.describe('In how many of them a copy must be proven before the source may go; all by default.')),
  settle: z
    .optional(duration)
    .check(z.describe('How long after its upper bound a partition may still be written to; default 1 day.')),
  jobs: z
    .optional(z.int().check(z.minimum(1), z.maximum(64)))
    .check(z.describe('Parallel copies; default 2.')),
  compressionLevel: z
    .optional(z.int().check(z.minimum(1), z.maximum(19)))
    .check(z.describe('Of zstd; default 2: rows come out as small as with 3, for two thirds of the time.')),
  verify: z.optional(proof),
  parquet: z.optional(z.boolean()).check(z.describe('Keep Parquet beside the parts, for queries.')),
  workDirectory: z
    .optional(name)
    .check(z.describe("For Parquet and the query cache; default: the system's temporary directory.")),
  onFailure: z
    .optional(name)
    .check(
      z.describe('A shell command that is run when an archive failed; it gets JSON on its standard input.'),
    ),
});

const partitionArchive = z.strictObject({
  mask: z
    .optional(z.record(z.string(), name))
    .check(
      z.describe(
        "Columns that are replaced on the way out, each with its SQL expression: 'null', or 'md5(email)'.",
      ),
    ),
  settle: z.optional(duration),
  verify: z.optional(proof),
  parquet: z.optional(z.boolean()),
  copies: z.optional(z.array(name).check(z.minLength(1, 'must name a store'))),
});

const partition = z.strictObject({
  table: name.check(z.describe('schema.table; mixed case is written as it is, without quotes.')),
  key: name.check(z.describe('The column of the partition key.')),
  interval,
  epoch: z
    .optional(z.enum(['seconds', 'milliseconds']))
    .check(z.describe('For a bigint key with a calendar interval: what the numbers count since 1970.')),
  timezone: z.optional(timezone),
  premake: z.optional(premake),
  naming: z
    .optional(name)
    .check(z.describe('Names of new partitions: {table} {yyyy} {mm} {dd} {hh} {q} {iyyy} {iw} {from}.')),
  retention: z.optional(retention),
  archive: z.optional(partitionArchive),
  quarantine: z.optional(duration).check(z.describe('Time between detach and drop.')),
  storageParameters: z
    .optional(z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])))
    .check(z.describe('Storage parameters of new partitions, e.g. autovacuum_vacuum_scale_factor.')),
});

const rowsLimits = z.strictObject({
  maxTime: z.optional(duration).check(z.describe('The longest run; the next one goes on.')),
  until: z
    .optional(z.string().check(z.regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time of day such as "05:00"')))
    .check(z.describe("Time of day at which a run ends, in the job's time zone.")),
  replicaLag: z
    .optional(duration)
    .check(z.describe('Stop while a standby is this far behind; default 30 s.')),
  slotBacklog: z
    .optional(size)
    .check(z.describe('Stop while a replication slot holds back this much WAL; default 10 GB.')),
  archiveBacklog: z
    .optional(size)
    .check(z.describe('Stop while this much WAL waits for archive_command; default 10 GB.')),
  waiters: z
    .optional(z.int().check(z.minimum(1)))
    .check(z.describe('Stop after so many batches in a row that others waited for; default 5.')),
  pause: z
    .optional(duration)
    .check(z.describe('How long a run waits for that to get better before it ends; default 5 min.')),
  batchSize: z
    .optional(z.int().check(z.minimum(10), z.maximum(1_000_000)))
    .check(z.describe('The most rows that one batch looks at; default 50000.')),
  gentle: z.optional(z.boolean()).check(z.describe('Rest after each batch for as long as it took.')),
});

const rowsJob = z.strictObject({
  purge: z.optional(name).check(z.describe('schema.table whose rows are deleted.')),
  move: z.optional(name).check(z.describe('schema.table whose rows go to another table.')),
  mask: z.optional(name).check(z.describe('schema.table whose columns are overwritten.')),
  olderThan: z
    .optional(
      z
        .string()
        .check(
          z.refine(
            (text) => parseOlderThan(text) !== undefined,
            'must be a column and a duration, such as "created_at 30 days"',
          ),
        ),
    )
    .check(z.describe('A column and an age: "published_at 7 days". The moment is frozen when a job begins.')),
  where: z.optional(name).check(z.describe("SQL condition on the row alone: status = 'PUBLISHED'.")),
  to: z.optional(name).check(z.describe('Where moved rows go: schema.table.')),
  create: z.optional(z.boolean()).check(z.describe('Make that table when it is not there.')),
  set: z
    .optional(z.record(z.string(), name))
    .check(z.describe("Masked columns, each with its SQL expression: 'null', or 'md5(email)'.")),
  cascade: z
    .optional(z.boolean())
    .check(z.describe('Let foreign keys change other tables as well (ON DELETE CASCADE, SET NULL).')),
  timezone: z.optional(timezone),
  limits: z.optional(rowsLimits),
});

const connection = z.strictObject({
  url: z
    .optional(name)
    .check(z.describe('postgresql://user@host:port/database; the environment is a better place for it.')),
  host: z.optional(name),
  port: z.optional(z.int().check(z.minimum(1), z.maximum(65_535))),
  database: z.optional(name),
  user: z.optional(name),
  passwordFile: z.optional(name).check(z.describe('A file whose first line is the password.')),
  sslmode: z.optional(z.enum(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'])),
  sslrootcert: z.optional(name),
  connectTimeout: z.optional(duration),
});

/**
 * The configuration file. Every object is strict: an unknown key is an error with the nearest known name. Descriptions
 * go into the JSON Schema that `dbops config schema` prints.
 */
export const fileSchema = z.strictObject({
  connection: z.optional(connection),
  state: z.optional(z.strictObject({ schema: z.optional(name) })),
  log: z.optional(z.strictObject({ format: z.optional(z.enum(['text', 'json'])) })),
  locking: z.optional(
    z.strictObject({
      timeout: z.optional(duration).check(z.describe('How long one lock is waited for; default 100 ms.')),
      deadline: z.optional(duration).check(z.describe('How long one change is tried again; default 2 min.')),
    }),
  ),
  checks: z.optional(
    z.strictObject({
      ensureEvery: z
        .optional(duration)
        .check(z.describe('How often "partition ensure" is expected to run; default 1 day.')),
    }),
  ),
  defaults: z.optional(
    z.strictObject({
      timezone: z.optional(timezone),
      premake: z.optional(premake),
      quarantine: z.optional(duration),
    }),
  ),
  stores: z
    .optional(z.record(z.string(), store))
    .check(z.describe('Where archives and backups are kept, by a name of your own.')),
  archive: z.optional(archive),
  backup: z.optional(backup),
  wal: z.optional(wal),
  partitions: z.optional(z.array(partition)),
  rows: z
    .optional(
      z.strictObject({ limits: z.optional(rowsLimits), jobs: z.optional(z.record(z.string(), rowsJob)) }),
    )
    .check(z.describe('Jobs of "rows run": rows that are deleted, moved or masked, by a name of your own.')),
  indexes: z.optional(indexes).check(z.describe('What "index ensure" creates where it is missing.')),
  health: z.optional(health),
  maintenance: z.optional(maintenance),
  schedule: z
    .optional(schedule)
    .check(z.describe('What runs when; "dbops schedule" hands it to cron, systemd, Kubernetes or pg_cron.')),
});

/** What a file says, checked but not yet completed with defaults. */
export type FileSettings = z.infer<typeof fileSchema>;
export type FilePartition = z.infer<typeof partition>;
export type FileStore = z.infer<typeof store>;
export type FileRowsJob = z.infer<typeof rowsJob>;
export type FileRowsLimits = z.infer<typeof rowsLimits>;
export type ProofLevel = (typeof proofLevels)[number];
export type IntervalUnit = (typeof intervalUnits)[number];
