import { intervalUnits, type IntervalUnit } from '../../config/schema.ts';
import type { Settings } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import { displayName, type RelationName } from '../../sql/quote.ts';
import { maxNameBytes } from '../model/naming.ts';

/** What the operator asks for, flags completed from the configuration. */
export interface ConvertWish {
  table: RelationName;
  key: string;
  interval: IntervalUnit | number;
  epoch: 'seconds' | 'milliseconds' | undefined;
  timezone: string;
  naming: string | undefined;
  premake: number;
  storageParameters: Record<string, string | number | boolean>;
  /** As typed; undefined: the next bound that is far enough ahead. */
  cutover: string | undefined;
  legacyName: string | undefined;
  dropIncomingForeignKeys: boolean;
  /** Objects that may go on reading the old table alone, as the catalog writes their identity. */
  leaveBehind: string[];
}

/** One thing that prevents a convert. */
export interface Obstacle {
  /** What it is about: "view public.v". */
  object: string;
  problem: string;
  remedy: string;
}

/** The flags of the command, as typed. */
export interface ConvertFlags {
  key?: string | undefined;
  interval?: string | undefined;
  cutover?: string | undefined;
  timezone?: string | undefined;
  epoch?: string | undefined;
  naming?: string | undefined;
  premake?: number | undefined;
  legacyName?: string | undefined;
  dropIncomingForeignKeys?: boolean | undefined;
  leaveBehind?: string[] | undefined;
}

/** Flags first, then the table's entry in the configuration, then the defaults. Throws usage for what is missing. */
export function wishOf(table: RelationName, flags: ConvertFlags, settings: Settings): ConvertWish {
  const entry = settings.partitions.find((item) => item.schema === table.schema && item.name === table.name);
  const key = flags.key ?? entry?.key;
  const interval = flags.interval === undefined ? entry?.interval : parseInterval(flags.interval);
  if (key === undefined || interval === undefined) {
    throw new DbopsError(
      'usage',
      `${displayName(table)}: ${key === undefined ? '--key' : '--interval'} is missing`,
      {
        hint: 'Give --key and --interval, or an entry for the table under "partitions" in dbops.yaml.',
      },
    );
  }
  return {
    table,
    key,
    interval,
    epoch: flags.epoch === undefined ? entry?.epoch : parseEpoch(flags.epoch),
    timezone: flags.timezone ?? entry?.timezone ?? 'UTC',
    naming: flags.naming ?? entry?.naming,
    premake: flags.premake ?? entry?.premake ?? defaultPremake,
    storageParameters: entry?.storageParameters ?? {},
    cutover: flags.cutover,
    legacyName: checkedName(flags.legacyName),
    dropIncomingForeignKeys: flags.dropIncomingForeignKeys === true,
    leaveBehind: flags.leaveBehind ?? [],
  };
}

const defaultPremake = 6;

function parseInterval(text: string): IntervalUnit | number {
  const unit = intervalUnits.find((item) => item === text);
  if (unit !== undefined) return unit;
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count) && count > 0) return count;
  throw new DbopsError('usage', `--interval is no interval: "${text}"`, {
    hint: 'Give hour, day, week, month, quarter, year, or a number of ids.',
  });
}

function parseEpoch(text: string): 'seconds' | 'milliseconds' {
  if (text === 'seconds' || text === 'milliseconds') return text;
  throw new DbopsError('usage', `--epoch is seconds or milliseconds, not "${text}"`);
}

function checkedName(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const bytes = Buffer.byteLength(name);
  if (bytes > 0 && bytes <= maxNameBytes && !name.includes('\0')) return name;
  throw new DbopsError(
    'usage',
    `--legacy-name has ${String(bytes)} bytes; a name has 1 to ${String(maxNameBytes)}`,
  );
}
