import { readFile, realpath, stat } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import { limitsOf } from '../../process/control-group.ts';
import { isThisHost } from '../../process/this-host.ts';
import { getServerPlaces, type ServerPlacesRow } from '../../sql/health-disk.ts';
import { listTunedSettings, type TunedSettingRow } from '../../sql/tune.ts';
import { isNear, recommend, type Machine, type Recommendation } from './recommend.ts';

/** What was said by flags. */
export interface Given {
  memoryBytes?: number | undefined;
  cpus?: number | undefined;
  storage?: 'ssd' | 'hdd' | undefined;
  connections?: number | undefined;
}

/** Where a figure comes from: a flag, this host as a whole, or what the server may take of it (a container, a unit). */
export type FigureSource = 'given' | 'this host' | 'control group';

/** The machine of a server, and where that is known from. */
export interface KnownMachine extends Machine {
  memoryFrom: FigureSource;
  cpusFrom: FigureSource;
  storageFrom: 'given' | 'this host' | null;
}

/** A recommendation beside what the server has. */
export interface Comparison extends Recommendation {
  current: TunedSettingRow;
  fits: boolean;
}

/** Compares the settings of the server with values computed for its machine. Changes nothing. */
export async function compareSettings(
  db: Db,
  given: Given,
): Promise<{ machine: KnownMachine; comparisons: Comparison[] }> {
  const machine = await machineOf(db, given);
  const wanted = recommend(machine);
  const names = wanted.map(({ name }) => name);
  const current = new Map((await listTunedSettings(db, names)).map((row) => [row.name, row]));
  const comparisons = wanted.flatMap((item): Comparison[] => {
    const row = current.get(item.name);
    // What has no meaning on the platform of the server takes only 0.
    if (row === undefined || row.most < item.value) return [];
    return [{ ...item, current: row, fits: isNear(row.value, item.value) }];
  });
  return { machine, comparisons };
}

async function machineOf(db: Db, given: Given): Promise<KnownMachine> {
  const places = await getServerPlaces(db);
  const isHere = await isThisHost(db.server, places.serverAddress);
  const missing = [
    ...(given.memoryBytes === undefined ? ['--memory'] : []),
    ...(given.cpus === undefined ? ['--cpus'] : []),
  ];
  if (!isHere && missing.length > 0)
    throw new DbopsError(
      'usage',
      `the server runs on another host, or in a container: ${missing.join(' and ')} must be given`,
      { hint: 'Say what the server has, e.g. --memory 16GB --cpus 4 --storage ssd.' },
    );
  const [limit] = await listTunedSettings(db, ['max_connections']);
  const limits = await limitsOf(db.server.pid);
  const [memoryBytes, memoryFrom] = figure(given.memoryBytes, totalmem(), limits.memoryBytes);
  // A fraction of a core still runs on one.
  const cores = limits.cpus === undefined ? undefined : Math.max(1, Math.ceil(limits.cpus));
  const [cpus, cpusFrom] = figure(given.cpus, availableParallelism(), cores);
  const seen = isHere && given.storage === undefined ? await storageOf(places) : null;
  return {
    ...{ memoryBytes, memoryFrom, cpus, cpusFrom },
    storage: given.storage ?? seen,
    storageFrom: given.storage !== undefined ? 'given' : seen === null ? null : 'this host',
    connections: given.connections ?? limit?.value ?? 100,
    versionNum: db.server.versionNum,
  };
}

/** A limit beyond what the host has is none. */
function figure(
  given: number | undefined,
  host: number,
  limit: number | undefined,
): [value: number, from: FigureSource] {
  if (given !== undefined) return [given, 'given'];
  return limit !== undefined && limit < host ? [limit, 'control group'] : [host, 'this host'];
}

/** What Linux says of the disk below the data directory; null where it says nothing. */
async function storageOf({ dataDirectory }: ServerPlacesRow): Promise<'ssd' | 'hdd' | null> {
  if (dataDirectory === null) return null;
  try {
    const { dev } = await stat(dataDirectory);
    const device = await realpath(`/sys/dev/block/${String(dev >> 8)}:${String(dev & 0xff)}`);
    // A partition has its queue in the folder of its disk.
    for (const folder of [device, join(device, '..')]) {
      const text = await readFile(join(folder, 'queue/rotational'), 'utf8').catch(() => '');
      if (text.trim() !== '') return text.trim() === '0' ? 'ssd' : 'hdd';
    }
  } catch {
    // Not Linux, or a file system without a device of its own.
  }
  return null;
}
