import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobContext } from '../../partition/context.ts';
import { stateChanges } from '../../partition/retire/state-changes.ts';
import type { Db } from '../../pg/connection.ts';
import { applyChanges } from '../../plan/apply.ts';
import { quietStep, transactionChange, type Change } from '../../plan/step.ts';
import { isThisHost } from '../../process/this-host.ts';
import { getServerPlaces } from '../../sql/health-disk.ts';
import { getHealthFacts } from '../../sql/health-facts.ts';
import { listTableSizes } from '../../sql/inspect-sizes.ts';
import { ident } from '../../sql/quote.ts';
import { askOnlyQuickly } from '../../sql/quick.ts';
import { listServerSamples, sampleStatements, type Sample } from '../../sql/samples.ts';
import { counterSamples, readCheckpointCounters, readDatabaseCounters } from '../counters.ts';
import { readSequences } from '../sequence-values.ts';

/** The largest tables are those that fill a disk; a row a day for each of ten thousand would be a table of that kind. */
const mostTables = 500;
/** A year, and a month to compare it with. */
const keptDays = 400;

export interface Recording {
  samples: Sample[];
  /** What could not be sampled, and what helps. */
  unseen: string[];
  changes: Change[];
}

/** What would be recorded today, with the statements that do it. Changes nothing. */
export async function planRecording({
  db,
  settings,
  now,
}: Pick<JobContext, 'db' | 'settings' | 'now'>): Promise<Recording> {
  const disks = await sampleDisks(db);
  const tables = await listTableSizes(db, mostTables);
  const sequences = await sampleSequences(db);
  const samples = [
    ...(await listServerSamples(db)),
    ...sequences.samples,
    ...(await sampleCounters(db)),
    // A size that is not known now would look like a jump.
    ...tables.filter(({ isEstimated }) => !isEstimated).map(tableSample),
    ...disks.samples,
  ];
  const unseen = [...disks.unseen, ...sequences.unseen];
  const oldest = new Date(now.getTime() - keptDays * 86_400_000).toISOString().slice(0, 10);
  const record = transactionChange({
    summary: `record ${String(samples.length)} samples`,
    table: `${settings.stateSchema}.sample`,
    event: 'capacity_recorded',
    statementTimeoutMs: 10_000,
    steps: sampleStatements(settings.stateSchema, samples, { takenAt: now, oldest }).map((sql) =>
      quietStep(sql, 'the samples of a day, of which forecasts are made'),
    ),
  });
  return { samples, unseen, changes: [...(await stateChanges(db, settings.stateSchema)), record] };
}

/** Keeps the samples of today; those of the same day are replaced. */
export async function applyRecording(context: JobContext, { changes }: Recording): Promise<void> {
  const { db, applied, log, signal } = context;
  await applyChanges(db, changes, applied, { log, signal, deadlineMs: 10_000 });
}

function tableSample({
  schema,
  name,
  totalBytes,
}: {
  schema: string;
  name: string;
  totalBytes: number;
}): Sample {
  return { kind: 'table', object: `${schema}.${name}`, value: BigInt(totalBytes), bound: null };
}

/** What health compares a day later: rates are told from two looks, not from one. */
async function sampleCounters(db: Db): Promise<Sample[]> {
  const facts = await getHealthFacts(db);
  return [
    ...counterSamples(await readDatabaseCounters({ db, facts })),
    ...counterSamples(await readCheckpointCounters({ db })),
  ];
}

/** The nearest number to 2^63 - 1 is 2^63, for which int8 has no room. */
function int8(value: number): bigint {
  const most = 2n ** 63n - 1n;
  return BigInt(value) > most ? most : BigInt(value);
}

/** Those that go up and were used. What somebody holds against reading is left out for today. */
async function sampleSequences(db: Db): Promise<{ samples: Sample[]; unseen: string[] }> {
  await askOnlyQuickly(db);
  try {
    const { read, unread } = await readSequences(db);
    const samples = read.flatMap(({ schema, name, lastValue, endValue, isAscending }): Sample[] => {
      if (lastValue === null || !isAscending) return [];
      return [
        { kind: 'sequence', object: `${schema}.${name}`, value: int8(lastValue), bound: int8(endValue) },
      ];
    });
    const hidden = unread.filter(({ mayRead }) => !mayRead);
    const schemas = [...new Set(hidden.map(({ schema }) => ident(schema)))];
    const unseen = `${String(hidden.length)} sequences may not be read by role "${db.server.user}": grant select on all sequences in schema ${schemas.join(', ')} to ${ident(db.server.user)}`;
    return { samples, unseen: hidden.length === 0 ? [] : [unseen] };
  } finally {
    await db.resetTimeouts();
  }
}

/** The file systems that the server writes to, where it runs on this host: each once, by the first place on it. */
async function sampleDisks(db: Db): Promise<{ samples: Sample[]; unseen: string[] }> {
  const { serverAddress, dataDirectory, tablespaces } = await getServerPlaces(db);
  const unseen = (why: string) => ({
    samples: [],
    unseen: [`the disk of the server is not sampled: ${why}`],
  });
  if (!(await isThisHost(db.server, serverAddress)))
    return unseen('the server runs on another host, or in a container; record there');
  if (dataDirectory === null) return unseen(`grant pg_read_all_settings to role "${db.server.user}"`);
  const places = [
    dataDirectory,
    join(dataDirectory, 'pg_wal'),
    ...tablespaces.map(({ location }) => location),
  ];
  const samples = new Map<number, Sample>();
  try {
    for (const place of places) {
      const { dev } = await stat(place);
      if (samples.has(dev)) continue;
      const { blocks, bfree, bavail, bsize } = await statfs(place);
      const used = BigInt(blocks - bfree) * BigInt(bsize);
      // What is kept for root is no room for a server.
      const bound = used + BigInt(bavail) * BigInt(bsize);
      samples.set(dev, { kind: 'disk', object: place, value: used, bound });
    }
  } catch {
    return unseen(`this user may not look into ${dataDirectory}; run it as the user of the server`);
  }
  return { samples: [...samples.values()], unseen: [] };
}
