import type { Folder } from '../catalogue/stored.ts';
import {
  lookAtCopy,
  survey,
  type Copy as StoredCopy,
  type Surveyed as SurveyedCopies,
  type SurveyResult,
} from '../catalogue/survey.ts';
import type { Db } from '../pg/connection.ts';
import { getServerIdentity } from '../sql/export.ts';
import { keyPart } from '../storage/key.ts';
import type { Store } from '../storage/store.ts';
import { archiveSort } from './catalogue.ts';
import type { Manifest } from './manifest.ts';

/** An archive, or what was to become one, as it lies in one store. */
export type Copy = StoredCopy<Manifest>;

/** All copies of one id. */
export type Surveyed = SurveyedCopies<Copy>;

export interface Survey extends Omit<SurveyResult<Copy>, 'items'> {
  /** In the order of their ids, which is that of time. */
  archives: Surveyed[];
}

export interface SurveyOptions {
  /** Only folders for which this is true are looked into. */
  isWanted?: ((parts: PlaceParts, id: string) => boolean) | undefined;
  signal: AbortSignal;
  jobs: number;
}

/** The parts of a place, encoded as keys are. */
export interface PlaceParts {
  system: string;
  database: string;
  table: string;
  partition: string;
}

/** Reads a place: <system>/archive/<database>/<table>/<partition>/<id>/. */
export function partsOfPlace(place: string): PlaceParts {
  const [system = '', , database = '', table = '', partition = ''] = place.split('/');
  return { system, database, table, partition };
}

/**
 * What lies in the stores, without a database. A store that fails and a manifest that cannot be read are told, never
 * thrown; an interruption is.
 */
export async function surveyStores(stores: Store[], options: SurveyOptions): Promise<Survey> {
  const { isWanted, signal, jobs } = options;
  const { items, asked, failed } = await survey(
    archiveSort,
    stores,
    {
      isWanted: isWanted && ((folder) => isWanted(partsOfPlace(folder.place), folder.id)),
      signal,
      jobs,
    },
    lookAt,
  );
  return { archives: items, asked, failed };
}

/** Whether a place is one of this cluster and database. */
export async function ownPlaces(db: Db): Promise<(parts: PlaceParts) => boolean> {
  const { systemIdentifier } = await getServerIdentity(db);
  const [system, database] = [keyPart(systemIdentifier), keyPart(db.server.database)];
  return (parts) => parts.system === system && parts.database === database;
}

/** Reads the manifest and the hold of one copy. */
export async function lookAt(folder: Folder, signal: AbortSignal): Promise<Copy> {
  return await lookAtCopy(archiveSort, folder, signal);
}
