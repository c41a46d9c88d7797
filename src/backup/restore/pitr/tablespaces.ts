import { isAbsolute, normalize } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import type { PhysicalPart } from '../../manifest.ts';
import { isInside } from './directory.ts';

/** A tablespace and where it goes. */
export interface MappedTablespace {
  oid: string;
  name: string;
  from: string;
  to: string;
  file: string;
}

/**
 * Reads `old=new`, where a = in a path is written \= as pg_basebackup wants it. Throws usage. Pure.
 */
export function parseMapping(text: string): { from: string; to: string } {
  const parts = text.split(/(?<!\\)=/).map((part) => part.replaceAll('\\=', '='));
  const [from = '', to = ''] = parts;
  if (parts.length === 2 && isAbsolute(from) && isAbsolute(to))
    return { from: normalize(from), to: normalize(to) };
  throw new DbopsError('usage', `--tablespace-mapping is old=new with absolute paths, not "${text}"`);
}

/**
 * Where each tablespace goes: to where it was mapped, else to where it was. Throws refused for a mapping of what is no
 * tablespace, for two in one place, or for one inside the data directory. Pure.
 */
export function mapTablespaces(
  tablespaces: PhysicalPart['tablespaces'],
  mappings: { from: string; to: string }[],
  dataDirectory: string,
): MappedTablespace[] {
  const locations = tablespaces.map((item) => item.location);
  for (const { from } of mappings) {
    if (!tablespaces.some((item) => normalize(item.location) === from)) {
      throw new DbopsError('refused', `the backup has no tablespace at ${from}`, {
        hint:
          locations.length === 0
            ? 'It has no tablespaces: leave out --tablespace-mapping.'
            : `It has them at ${locations.join(', ')}.`,
      });
    }
  }
  const mapped = tablespaces.map((item) => ({
    oid: item.oid,
    name: item.name,
    from: item.location,
    to: mappings.find(({ from }) => from === normalize(item.location))?.to ?? item.location,
    file: item.file,
  }));
  for (const [index, { to, name }] of mapped.entries()) {
    const other = mapped.find((item, at) => at !== index && (isInside(item.to, to) || isInside(to, item.to)));
    if (other !== undefined)
      throw new DbopsError('refused', `tablespaces "${name}" and "${other.name}" would share ${to}`);
    if (isInside(to, dataDirectory) || isInside(dataDirectory, to)) {
      throw new DbopsError('refused', `tablespace "${name}" would be inside the data directory, at ${to}`, {
        hint: 'Map it to a directory of its own: --tablespace-mapping old=new.',
      });
    }
  }
  return mapped;
}

/**
 * The tablespace_map of a data directory with other locations: lines of "oid location", in which line breaks and
 * backslashes are escaped by a backslash (read_tablespace_map in xlogrecovery.c). Pure.
 */
export function rewriteTablespaceMap(tablespaces: MappedTablespace[]): string {
  return tablespaces.map(({ oid, to }) => `${oid} ${to.replaceAll(/[\n\r\\]/g, '\\$&')}\n`).join('');
}
