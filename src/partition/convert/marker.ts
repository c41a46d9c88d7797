/** The CHECK that bounds the table by the cutover, from the first step of a convert until the swap. */
export const cutoverConstraint = 'dbops_cutover';

/** The comment on that CHECK: a convert was begun and not finished. JSON follows. */
const convertingMarker = 'dbops:converting ';

/** The comment on the old table after the swap: what undo needs. JSON follows. */
const convertedMarker = 'dbops:converted ';

/** What the CHECK's comment says. */
export interface BegunMark {
  key: string;
  /** As the key's literal. */
  cutover: string;
  /** The instant of the cutover in ISO; null for ids. */
  at: string | null;
  /** The unique index that was built for the swap. */
  index: string | null;
}

/** What the old table's comment says after the swap. */
export interface ConvertedMark {
  /** The name that the table had, and that the parent has now. */
  name: string;
  key: string;
  cutover: string;
  /** The primary key as it was; null when it was not exchanged. */
  primaryKey: { name: string; columns: string[]; included: string[] } | null;
  keyWasNullable: boolean;
  /** Names that indexes and statistics have now and had before. */
  indexes: { now: string; before: string }[];
  statistics: { schema: string; now: string; before: string }[];
  /** Foreign keys that pointed at the table and were dropped; table is quoted. */
  incoming: { table: string; name: string; definition: string }[];
  /** The primary key's index was the replica identity. */
  replicaIdentityWasPrimaryKey: boolean;
}

export const begunPrefix = convertingMarker.trimEnd();
export const convertedPrefix = convertedMarker.trimEnd();

export function begunComment(mark: BegunMark): string {
  return convertingMarker + JSON.stringify(mark);
}

export function convertedComment(mark: ConvertedMark): string {
  return convertedMarker + JSON.stringify(mark);
}

/** Undefined when the comment is none of ours, or was altered. */
export function parseBegun(comment: string | null): BegunMark | undefined {
  return parse(comment, convertingMarker) as BegunMark | undefined;
}

/** Undefined when the comment is none of ours, or was altered. */
export function parseConverted(comment: string | null): ConvertedMark | undefined {
  return parse(comment, convertedMarker) as ConvertedMark | undefined;
}

function parse(comment: string | null, marker: string): unknown {
  if (comment?.startsWith(marker) !== true) return undefined;
  try {
    return JSON.parse(comment.slice(marker.length)) as unknown;
  } catch {
    return undefined;
  }
}
