import type { Check } from '../check.ts';
import { activity } from './activity.ts';
import { archiving } from './archiving.ts';
import { backups } from './backups.ts';
import { bloat } from './bloat.ts';
import { cache } from './cache.ts';
import { checkpoints } from './checkpoints.ts';
import { checksums } from './checksums.ts';
import { connections } from './connections.ts';
import { disk } from './disk.ts';
import { extensions } from './extensions.ts';
import { growth } from './growth.ts';
import { indexes } from './indexes.ts';
import { jobs } from './jobs.ts';
import { locks } from './locks.ts';
import { partitions } from './partitions.ts';
import { recommended } from './recommended.ts';
import { replication } from './replication.ts';
import { sequences } from './sequences.ts';
import { settings } from './settings.ts';
import { sizes } from './sizes.ts';
import { slots } from './slots.ts';
import { standby } from './standby.ts';
import { statements } from './statements.ts';
import { transactions } from './transactions.ts';
import { vacuum } from './vacuum.ts';
import { walArchive } from './wal-archive.ts';
import { wraparound } from './wraparound.ts';

/** Every check that dbops has, in the order of the report. Those of the configuration come behind them. */
export const builtIn: readonly Check[] = [
  ...connections,
  ...transactions,
  ...locks,
  ...wraparound,
  ...replication,
  ...standby,
  ...slots,
  ...archiving,
  ...walArchive,
  ...backups,
  ...partitions,
  ...vacuum,
  ...bloat,
  ...indexes,
  ...sequences,
  ...cache,
  ...checkpoints,
  ...activity,
  ...settings,
  ...recommended,
  ...extensions,
  ...checksums,
  ...sizes,
  ...growth,
  ...disk,
  ...statements,
  ...jobs,
];
