import type { Readable } from 'node:stream';
import type { BackupKind } from '../../config/backup.ts';
import type { GetOptions, Store } from '../../storage/store.ts';
import type { BackupFile, BackupManifest, PgbackrestPart } from '../manifest.ts';
import type { BackupContext } from '../context.ts';

/** What was asked for. */
export interface BackupWish {
  kind: BackupKind;
  /** schema.table of --table, as written. */
  tables: string[];
  /** Patterns of --exclude-data, as pg_dump takes them. */
  excludeData: string[];
  reason: string | null;
  /** Needs no work directory. */
  stream: boolean;
  /** Of pgBackRest; null: full when there is none yet, else incr. */
  type: PgbackrestPart['type'] | null;
  /** The id of the backup that an incremental one builds on; null: the newest that fits. */
  parent: string | null;
}

/** What a backup will be, before anything is written. */
export interface BackupPlan {
  /** Null: the whole cluster. */
  database: string | null;
  /** Size in the database of what is backed up. */
  sourceBytes: number;
  /** What is done, one line each, for --dry-run: commands as they are run, secrets left out. */
  steps: string[];
}

/** A backup that is being made. */
export interface Making {
  context: BackupContext;
  wish: BackupWish;
  id: string;
  /** The folder in each store, ending with /. */
  place: string;
  sink: Sink;
  /** Those that get a copy, the first one first. */
  stores: Store[];
}

/** A backup that is about to be made: by its maker, more than once where its first store fails. */
export type Holding = Pick<Making, 'context' | 'id' | 'stores'>;

/** Writes the files of a backup to every store that gets a copy. */
export interface Sink {
  /** What was stored so far. */
  readonly files: BackupFile[];
  /**
   * Stores one file under the backup's folder. The body must fail when the program that makes it fails: an object that
   * was ended too early would look whole. Rejects with what the stores throw; then the whole backup is begun anew, where
   * other stores are enough, or fails.
   */
  put: (name: string, body: AsyncIterable<Uint8Array> | Uint8Array) => Promise<BackupFile>;
  /** Reads a range of the bytes of a file back from the first store. */
  get: (name: string, range: NonNullable<GetOptions['range']>) => Promise<Readable>;
}

/** What a maker knows of a backup once its files are stored. */
export type Made = Pick<BackupManifest, 'tools' | 'logical' | 'physical' | 'pgbackrest'> &
  // Where the program that made it knows better than the plan.
  Partial<Pick<BackupManifest, 'sourceBytes'>>;

/** Makes backups of one kind. */
export interface Maker<Plan extends BackupPlan> {
  /** Throws what makes the backup impossible: a missing program, a privilege, no space. Writes nothing. */
  plan: (context: BackupContext, wish: BackupWish) => Promise<Plan>;
  /**
   * Writes all files, and checks what it has written: a backup that is empty or cut off is a failure. A method, so that a
   * maker whose plan holds more passes for one of any plan: each is handed only what it planned itself.
   */
  make(making: Making, plan: Plan): Promise<Made>;
  /**
   * Runs `work`, which makes the files and writes the manifest, while it keeps others from what the backup needs. `work`
   * asks `check` before the manifest is written, which throws where this backup must not come into being.
   */
  hold?<T>(holding: Holding, plan: Plan, work: (check: () => Promise<void>) => Promise<T>): Promise<T>;
}
