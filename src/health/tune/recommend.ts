/** What the server has to work with. */
export interface Machine {
  memoryBytes: number;
  cpus: number;
  /** Null where it is not known: what depends on it is left out. */
  storage: 'ssd' | 'hdd' | null;
  /** Sessions at the same time. */
  connections: number;
  versionNum: number;
}

/** A value computed for a setting. */
export interface Recommendation {
  name: string;
  /** Memory in bytes, others as they are. */
  value: number;
  /** As ALTER SYSTEM takes it. */
  written: string;
  reason: string;
  /** Where the formula comes from. */
  source: string;
}

const megabyte = 2 ** 20;
const gigabyte = 2 ** 30;

const consumption = 'PostgreSQL documentation, "Resource Consumption"';
const planning = 'PostgreSQL documentation, "Query Planning"';

/** What a server of this kind is well begun with; a measurement of the real load is better. Pure. */
export function recommend(machine: Machine): Recommendation[] {
  return [...memorySettings(machine), ...parallelSettings(machine), ...storageSettings(machine)];
}

function memorySettings({ memoryBytes, connections }: Machine): Recommendation[] {
  // Below 1 GB the documentation advises a smaller share.
  const shared = memoryBytes * (memoryBytes < gigabyte ? 0.125 : 0.25);
  const maintenance = Math.min(memoryBytes / 16, 2 * gigabyte);
  const work = (memoryBytes - shared) / (connections * 3);
  return [
    memory('shared_buffers', shared, {
      reason: `${memoryBytes < gigabyte ? 'an eighth' : 'a quarter'} of the memory; the rest also serves as a cache, by the operating system`,
      source: `${consumption}, shared_buffers: "a reasonable starting value ... is 25% of the memory"`,
    }),
    memory('effective_cache_size', memoryBytes * 0.75, {
      reason:
        'what a query can expect to find cached by the server and the operating system; nothing is taken for it',
      source: `${planning}, effective_cache_size (both caches count); the share of three quarters is PGTune's`,
    }),
    memory('maintenance_work_mem', maintenance, {
      reason: 'a sixteenth of the memory, at most 2 GB: VACUUM and CREATE INDEX go over the table less often',
      source: `${consumption}, maintenance_work_mem (each autovacuum worker may take it); the share is PGTune's`,
    }),
    memory('work_mem', Math.max(work, 4 * megabyte), {
      reason: `what is left by shared_buffers over ${String(connections)} sessions with three sorts or hashes each, and no less than the default`,
      source: `${consumption}, work_mem ("several running sessions could be doing such operations"); the three are PGTune's`,
    }),
  ];
}

function parallelSettings({ cpus }: Machine): Recommendation[] {
  const workers = Math.max(8, cpus);
  const perGather = Math.min(4, Math.max(1, Math.floor(cpus / 2)));
  const source = `${consumption}, "Worker Processes"; the shares are PGTune's`;
  return [
    count('max_worker_processes', workers, {
      reason: 'one for each core, and no less than the default',
      source,
    }),
    count('max_parallel_workers', Math.max(2, cpus), {
      reason: 'one for each core: more would only take turns',
      source,
    }),
    count('max_parallel_workers_per_gather', perGather, {
      reason: 'half of the cores, at most four: one query must not take all',
      source,
    }),
    count('max_parallel_maintenance_workers', perGather, {
      reason: 'half of the cores, at most four, for CREATE INDEX and VACUUM',
      source,
    }),
  ];
}

function storageSettings({ storage, versionNum }: Machine): Recommendation[] {
  if (storage === null) return [];
  const isSsd = storage === 'ssd';
  // Reading ahead is done by other means since 18, whose default suits both.
  const concurrency =
    versionNum >= 180_000
      ? []
      : [
          count('effective_io_concurrency', isSsd ? 200 : 2, {
            reason: isSsd ? 'an SSD serves many reads at once' : 'about one for each drive',
            source: `${consumption}, effective_io_concurrency: for SSDs "the best value might be in the hundreds"`,
          }),
        ];
  return [
    count('random_page_cost', isSsd ? 1.1 : 4, {
      reason: isSsd
        ? 'a page here or there costs an SSD about the same'
        : 'a disk has to seek; the default counts on a warm cache',
      source: `${planning}, random_page_cost: solid-state drives "might be better modeled with a lower value ... e.g., 1.1"`,
    }),
    ...concurrency,
  ];
}

type Why = Pick<Recommendation, 'reason' | 'source'>;

function memory(name: string, bytes: number, why: Why): Recommendation {
  const megabytes = Math.max(1, Math.floor(bytes / megabyte));
  return { name, value: megabytes * megabyte, written: `${String(megabytes)}MB`, ...why };
}

function count(name: string, value: number, why: Why): Recommendation {
  return { name, value, written: String(value), ...why };
}

/** Whether a value is near enough to be left alone: formulas are no more exact than that. Pure. */
export function isNear(current: number, wanted: number): boolean {
  if (current === wanted) return true;
  return current > 0 && Math.max(current / wanted, wanted / current) <= 1.25;
}
