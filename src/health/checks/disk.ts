import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { humanBytes } from '../../output/human.ts';
import { isThisHost } from '../../process/this-host.ts';
import { getServerPlaces, type ServerPlacesRow } from '../../sql/health-disk.ts';
import { ident } from '../../sql/quote.ts';
import type { Check, CheckContext, Look, Observation } from '../check.ts';

const elsewhere =
  'Run dbops on the host of the server, or watch its disks there; leave it out with "health.skip: [disk]" where somebody does.';

/** One directory of the server. */
interface Place {
  name: string;
  path: string;
}

/** A file system, with the places that lie on it. */
interface Disk {
  places: Place[];
  usedPercent: number;
  freeBytes: number;
}

export const disk: Check[] = [
  {
    id: 'disk.used',
    group: 'disk',
    answers: 'how full the file systems of the data directory, of pg_wal and of the tablespaces are',
    why: 'When no WAL can be written the server stops, and starts again only when there is room.',
    advice:
      'Find what grew ("dbops inspect sizes", replication slots, an archive that fails), and make room or enlarge the disk.',
    thresholds: { unit: 'percent', worse: 'above', warn: 70, crit: 85 },
    source:
      'our own: at 70 % there is time to order a disk; pgEdge has 85 % and 95 %, check_postgres 90 % and 95 %',
    profiles: ['daily', 'weekly', 'monthly', 'deploy'],
    asks: 'where the files of the server lie, and statfs() of this host for each; nothing where the server is another host',
    look,
  },
];

async function look({ db }: CheckContext): Promise<Look> {
  const places = await getServerPlaces(db);
  const { dataDirectory, serverAddress } = places;
  if (!(await isThisHost(db.server, serverAddress)))
    return unknown(
      `the server is another host or in a container (${serverAddress ?? 'a socket'}): its disks cannot be seen from here`,
      {
        advice: elsewhere,
      },
    );
  if (dataDirectory === null)
    return unknown('where the data directory lies may not be read', {
      advice: 'Give the role what it takes, as a superuser.',
      mend: `grant pg_read_all_settings to ${ident(db.server.user)};`,
    });
  return await lookAtDisks(placesOf(dataDirectory, places));
}

function unknown(message: string, rest: Pick<Observation, 'advice' | 'mend'>): Look {
  return { observations: [{ object: null, value: null, message, ...rest }], summary: message };
}

function placesOf(dataDirectory: string, { tablespaces }: ServerPlacesRow): Place[] {
  return [
    { name: 'data directory', path: dataDirectory },
    { name: 'pg_wal', path: join(dataDirectory, 'pg_wal') },
    ...tablespaces.map(({ name, location }) => ({ name: `tablespace ${name}`, path: location })),
  ];
}

/** Places on one file system are one observation: a full disk is one finding. */
async function lookAtDisks(places: Place[]): Promise<Look> {
  const disks = new Map<number, Disk>();
  const observations: Observation[] = [];
  for (const place of places) {
    try {
      const { dev } = await stat(place.path);
      const known = disks.get(dev);
      if (known === undefined) disks.set(dev, await measure(place));
      else known.places.push(place);
    } catch (error) {
      observations.push(unreadable(place, error));
    }
  }
  const shown = [...disks.values()].map(observationOf);
  const summary = shown.map(({ object, message }) => `${object ?? ''}: ${message}`).join('; ');
  return { observations: [...shown, ...observations], summary };
}

/** As df counts it: what is kept for root is neither used nor free. */
async function measure(place: Place): Promise<Disk> {
  const { blocks, bfree, bavail, bsize } = await statfs(place.path);
  const used = blocks - bfree;
  return {
    places: [place],
    usedPercent: (used / Math.max(1, used + bavail)) * 100,
    freeBytes: bavail * bsize,
  };
}

function observationOf({ places, usedPercent, freeBytes }: Disk): Observation {
  const [first, ...others] = places;
  const also = others.length === 0 ? '' : `; also ${others.map(({ name }) => name).join(', ')}`;
  return {
    object: first?.name ?? null,
    value: usedPercent,
    message: `${String(Math.round(usedPercent))} % are used, ${humanBytes(freeBytes)} free`,
    detail: `${first?.path ?? ''}${also}`,
  };
}

function unreadable({ name, path }: Place, error: unknown): Observation {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const reason =
    code === 'ENOENT'
      ? 'is not on this host: the server runs elsewhere, or in a container'
      : 'may not be looked into by this user';
  return {
    object: name,
    value: null,
    message: `${path} ${reason}`,
    advice: code === 'ENOENT' ? elsewhere : asOwner,
  };
}

const asOwner =
  'Run dbops as the user of the server, or leave this place out below health.thresholds."disk.used".objects.';
