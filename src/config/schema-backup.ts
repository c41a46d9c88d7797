import * as z from 'zod/mini';
import { duration, name, size } from './schema-basics.ts';

/** What is backed up, and how. */
export const backupKinds = [
  'logical',
  'schema',
  'table',
  'partition',
  'base',
  'incremental',
  'snapshot',
  'pgbackrest',
] as const;

const copies = z
  .optional(z.array(name).check(z.minLength(1, 'must name a store')))
  .check(z.describe('Names of the stores that get a copy; all of them when it is left out.'));
const required = z
  .optional(z.int().check(z.positive('must be greater than 0')))
  .check(z.describe('In how many of them a copy must be; all by default.'));
const count = z.optional(z.int().check(z.minimum(1), z.maximum(10_000)));

const retain = z
  .strictObject({
    last: count.check(z.describe('The newest so many.')),
    within: z.optional(duration).check(z.describe('All that are younger than this.')),
    hourly: count.check(z.describe('The newest of each of the last so many hours that have one.')),
    daily: count.check(z.describe('The newest of each of the last so many days that have one.')),
    weekly: count.check(z.describe('... ISO weeks ...')),
    monthly: count.check(z.describe('... months ...')),
    yearly: count.check(z.describe('... years ...')),
  })
  .check(
    z.refine(
      (rules) => Object.keys(rules).length > 0,
      'must have a rule, such as "last: 7": without one nothing would be kept',
    ),
  );

const promise = z
  .strictObject({
    rto: z.optional(duration).check(z.describe('A restore takes at most so long; default 4 hours.')),
    rpo: z.optional(duration).check(z.describe('A restore loses at most so much; default 24 hours.')),
    pitrRto: z
      .optional(duration)
      .check(z.describe('The same for a base backup and its WAL; default 30 minutes.')),
    pitrRpo: z.optional(duration).check(z.describe('... default 5 minutes.')),
  })
  .check(z.describe('What "backup drill" measures against.'));

const drill = z.strictObject({
  url: z
    .optional(name)
    .check(
      z.describe(
        'The server on which a logical backup is restored into a database of its own; default: a server that the drill starts itself.',
      ),
    ),
  directory: z
    .optional(name)
    .check(z.describe('Where the drill restores to; default: the work directory of backups.')),
  checks: z
    .optional(z.record(z.string(), name))
    .check(
      z.describe(
        'SQL by a name of your own that must return true in what was restored: "select count(*) > 0 from orders".',
      ),
    ),
});

const pgbackrest = z.strictObject({
  stanza: name,
  config: z.optional(name).check(z.describe("pgBackRest's own configuration file.")),
  user: z
    .optional(name)
    .check(
      z.describe(
        'Whom root runs pgBackRest as: the user of the server and of its archive_command; default postgres.',
      ),
    ),
});

export const backup = z.strictObject({
  copies,
  required,
  jobs: z
    .optional(z.int().check(z.minimum(1), z.maximum(64)))
    .check(z.describe('Parallel sessions of a dump and a restore; default 2.')),
  compressionLevel: z
    .optional(z.int().check(z.minimum(1), z.maximum(19)))
    .check(z.describe('Of zstd; default 2.')),
  workDirectory: z
    .optional(name)
    .check(
      z.describe(
        "For dumps in directory format, restores and drills; default: the system's temporary directory.",
      ),
    ),
  minimumSize: z
    .optional(size)
    .check(z.describe('A backup with less data than this has failed; default: any data at all.')),
  countRows: z
    .optional(z.boolean())
    .check(z.describe('Count the rows of each table in the snapshot of the dump, for drills; default true.')),
  archiveTimeout: z
    .optional(duration)
    .check(
      z.describe('How long a base backup waits for the last of its WAL to be archived; default 10 minutes.'),
    ),
  hashBelow: z.optional(size).check(z.describe('Tables smaller than this are also hashed; default 64 MB.')),
  retain: z
    .optional(z.partialRecord(z.enum(backupKinds), retain))
    .check(z.describe('How long backups are kept, by kind. What is not named is kept for ever.')),
  promise: z.optional(promise),
  drill: z.optional(drill),
  pgbackrest: z.optional(pgbackrest),
  onFailure: z
    .optional(name)
    .check(
      z.describe(
        'A shell command that is run when a backup or a drill failed; it gets JSON on its standard input.',
      ),
    ),
});

export const wal = z.strictObject({
  copies,
  required,
  spool: z
    .optional(name)
    .check(
      z.describe(
        'A directory on the database host that survives a reboot, for marks of segments that are safe and for segments fetched ahead; default /var/spool/dbops.',
      ),
    ),
  jobs: z
    .optional(z.int().check(z.minimum(1), z.maximum(32)))
    .check(z.describe('Segments pushed or fetched at once; default 2.')),
  ahead: z
    .optional(z.int().check(z.minimum(0), z.maximum(1024)))
    .check(z.describe('How many further segments one call pushes or fetches; default 64.')),
  compressionLevel: z
    .optional(z.int().check(z.minimum(1), z.maximum(19)))
    .check(z.describe('Of zstd; default 1.')),
});

export type BackupKind = (typeof backupKinds)[number];
export type FileBackup = z.infer<typeof backup>;
export type FileWal = z.infer<typeof wal>;
export type FileRetain = z.infer<typeof retain>;
