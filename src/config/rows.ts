import { durationMs } from './duration.ts';
import type { LoadedFile } from './load.ts';
import { parseOlderThan, type OlderThan } from './older-than.ts';
import type { Picker } from './picker.ts';
import type { FileRowsJob, FileRowsLimits } from './schema.ts';
import { parseSize } from './size.ts';

export type RowsVerb = 'purge' | 'move' | 'mask';

/** What is done to which rows of one table, however it was said. */
export interface RowsDefinition {
  verb: RowsVerb;
  /** schema.table as written. */
  table: string;
  olderThan: OlderThan | undefined;
  /** SQL condition on the row alone. */
  where: string | undefined;
  /** Where moved rows go, as written. */
  to: string | undefined;
  /** Make that table when it is not there. */
  create: boolean;
  /** Masked column to its SQL expression. */
  set: Record<string, string>;
  /** Foreign keys may change other tables as well. */
  cascade: boolean;
  /** In which a date or a timestamp without zone is read. */
  timezone: string;
}

/** When a job stops. Times in milliseconds, sizes in bytes. */
export interface RowsLimits {
  /** The longest run, from the start of its command; undefined: no limit. */
  maxTimeMs: number | undefined;
  /** HH:MM at which a run ends, in the job's time zone. */
  until: string | undefined;
  replicaLagMs: number;
  slotBacklogBytes: number;
  archiveBacklogBytes: number;
  /** So many batches in a row in which somebody waited for us. */
  waiters: number;
  /** How long a run waits for any of these to get better before it ends. */
  pauseMs: number;
  /** The most rows that one batch looks at. */
  batchSize: number;
  /** Rest after each batch for as long as it took. */
  gentle: boolean;
}

export interface RowsJobSettings {
  name: string;
  definition: RowsDefinition;
  limits: RowsLimits;
}

export interface RowsSettings {
  limits: RowsLimits;
  /** defaults.timezone, for jobs that name no zone of their own. */
  timezone: string;
  /** In the order of the file. */
  jobs: RowsJobSettings[];
}

export const defaultRowsLimits: RowsLimits = {
  maxTimeMs: undefined,
  until: undefined,
  replicaLagMs: 30_000,
  slotBacklogBytes: 10 * 2 ** 30,
  archiveBacklogBytes: 10 * 2 ** 30,
  waiters: 5,
  pauseMs: 300_000,
  batchSize: 50_000,
  gentle: false,
};

/** The jobs of the nearest file that has a section `rows`, completed with its limits and the defaults. */
export function rowsSettings(picker: Picker, files: LoadedFile[], timezone: string): RowsSettings {
  const file = files.find((item) => item.settings.rows !== undefined);
  const rows = file?.settings.rows;
  const limits = withLimits(defaultRowsLimits, rows?.limits);
  const jobs = Object.entries(rows?.jobs ?? {}).map(([name, job]): RowsJobSettings => {
    const definition = definitionOf(job, timezone);
    picker.pick(`rows.jobs.${name}`, [
      {
        value: `${definition.verb} ${definition.table}`,
        source: `${file?.path ?? ''} (${file?.kind ?? ''} file)`,
      },
    ]);
    return { name, definition, limits: withLimits(limits, job.limits) };
  });
  return { limits, timezone, jobs };
}

function definitionOf(job: FileRowsJob, timezone: string): RowsDefinition {
  const verb = job.purge !== undefined ? 'purge' : job.move !== undefined ? 'move' : 'mask';
  return {
    verb,
    table: job[verb] ?? '',
    olderThan: job.olderThan === undefined ? undefined : parseOlderThan(job.olderThan),
    where: job.where,
    to: job.to,
    create: job.create ?? false,
    set: job.set ?? {},
    cascade: job.cascade ?? false,
    timezone: job.timezone ?? timezone,
  };
}

function withLimits(base: RowsLimits, own: FileRowsLimits | undefined): RowsLimits {
  if (own === undefined) return base;
  const milliseconds = (value: FileRowsLimits['pause']) =>
    value === undefined ? undefined : durationMs(value);
  const bytes = (value: string | undefined) => (value === undefined ? undefined : parseSize(value));
  return {
    maxTimeMs: milliseconds(own.maxTime) ?? base.maxTimeMs,
    until: own.until ?? base.until,
    replicaLagMs: milliseconds(own.replicaLag) ?? base.replicaLagMs,
    slotBacklogBytes: bytes(own.slotBacklog) ?? base.slotBacklogBytes,
    archiveBacklogBytes: bytes(own.archiveBacklog) ?? base.archiveBacklogBytes,
    waiters: own.waiters ?? base.waiters,
    pauseMs: milliseconds(own.pause) ?? base.pauseMs,
    batchSize: own.batchSize ?? base.batchSize,
    gentle: own.gentle ?? base.gentle,
  };
}
