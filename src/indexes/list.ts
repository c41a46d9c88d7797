import { writeTable } from '../config/table-name.ts';
import { humanBytes } from '../output/human.ts';
import { shellWord } from '../output/shell-word.ts';
import type { Db } from '../pg/connection.ts';
import { getHealthFacts } from '../sql/health-facts.ts';
import {
  countStandbys,
  duplicateIndexes,
  foreignKeysWithoutIndex,
  indexUsage,
  redundantIndexes,
  type CoveredRow,
  type IndexRow,
  type MissingRow,
} from '../sql/indexes.ts';
import { invalidIndexes, type InvalidRow } from '../sql/invalid-indexes.ts';
import { listDefinitions } from '../sql/index-tables.ts';
import { displayName } from '../sql/quote.ts';
import { bloatedFrom, findBloated, type BloatedRow } from './bloat.ts';
import { undoOf } from './drop.ts';
import { evidenceHours, listUnused, standbyNote, usedOtherwise } from './evidence.ts';

export const indexTraits = ['unused', 'duplicate', 'redundant', 'invalid', 'bloated'] as const;
export type IndexTrait = (typeof indexTraits)[number];

export interface ListedIndex {
  index: string;
  table: string;
  method: string;
  columns: string[];
  sizeBytes: number;
  scans: number;
  lastScan: Date | null;
  traits: IndexTrait[];
  /** What is wrong with it, and what speaks for keeping it. */
  notes: string[];
  /** Only with evidence; false also where there is not enough of it. */
  isSafeToDrop: boolean;
  /** The statements that make it again; null where nothing is to be dropped, or its table is locked. */
  undo: string[] | null;
}

export interface IndexSurvey {
  indexes: ListedIndex[];
  /** Foreign keys that no index serves. */
  missing: (MissingRow & { mend: string })[];
  /** Since when scans are counted. */
  countedSince: Date;
  standbys: number;
  /** What could not be looked at, with what helps. */
  unseen: string[];
}

/** Looks at every index of the database: eight questions, whatever the number of tables. Changes nothing. */
export async function surveyIndexes(
  db: Db,
  now: Date,
  leastBloatBytes = bloatedFrom.bytes,
): Promise<IndexSurvey> {
  const { versionNum, isStandby } = db.server;
  const facts = await getHealthFacts(db);
  const countedSince = facts.countedSince ?? facts.startedAt;
  const standbys = await countStandbys(db);
  const rows = await db.query<IndexRow>(indexUsage(versionNum));
  const duplicates = byOid(await db.query<CoveredRow>(duplicateIndexes(versionNum)));
  const redundant = byOid(await db.query<CoveredRow>(redundantIndexes(versionNum)));
  const invalid = byOid(await db.query<InvalidRow>(invalidIndexes()));
  const missing = await db.query<MissingRow>(foreignKeysWithoutIndex());
  const hours = (now.getTime() - countedSince.getTime()) / 3_600_000;
  const evidence = { hours, standbys, isStandby };
  const { unused, standIns } = listUnused(rows);
  const { bloated, unseen } = await findBloated(db, facts.roles, leastBloatBytes);
  const never = new Set(unused.map(({ oid }) => oid));
  const found = { duplicates, redundant, invalid, bloated, unused: never, standIns };
  const listed = rows.map((row) => ({ row, listed: describe(row, found, evidence) }));
  const droppable = listed.filter(({ listed: { traits } }) => traits.some((trait) => trait !== 'bloated'));
  const definitions = byOid(
    droppable.length === 0
      ? []
      : await listDefinitions(
          db,
          droppable.map(({ row }) => row.oid),
        ),
  );
  return {
    countedSince,
    standbys,
    unseen,
    missing: missing.map((row) => ({ ...row, mend: createCommand(row) })),
    indexes: [
      ...listed.map(({ row, listed: item }) => {
        const definition = definitions.get(row.oid);
        return definition === undefined ? item : { ...item, undo: undoOf({ ...row, ...definition }) };
      }),
      ...describeParts(rows, found),
    ],
  };
}

/** What is wrong with indexes that are counted with others: of partitions, and of TOAST. */
function describeParts(
  rows: IndexRow[],
  { invalid, bloated }: Pick<Found, 'invalid' | 'bloated'>,
): ListedIndex[] {
  const counted = new Set(rows.map(({ oid }) => oid));
  return [
    ...[...invalid.values()].filter(({ oid }) => !counted.has(oid)).map(describePart),
    ...[...bloated.values()].filter(({ oid }) => !counted.has(oid)).map(describeBloatedPart),
  ];
}

function describeBloatedPart(row: BloatedRow): ListedIndex {
  return {
    index: displayName(row),
    table: displayName({ schema: row.schema, name: row.table }),
    ...{ method: 'btree', columns: [], sizeBytes: row.sizeBytes, scans: 0, lastScan: null },
    traits: ['bloated'],
    notes: [bloatNote(row), 'it is a part of another one'],
    isSafeToDrop: false,
    undo: null,
  };
}

function bloatNote({ wastedBytes, sizeBytes, ...index }: BloatedRow): string {
  const command = `dbops maintenance reindex --index ${shellWord(writeTable(index))}`;
  return `about ${humanBytes(wastedBytes)} of ${humanBytes(sizeBytes)} are air: "${command}" rebuilds it`;
}

function describePart(row: InvalidRow): ListedIndex {
  const isLeft = row.isInWork === false;
  return {
    index: displayName(row),
    table: displayName({ schema: row.schema, name: row.table }),
    ...{ method: row.method, columns: [], sizeBytes: row.sizeBytes, scans: 0, lastScan: null },
    traits: isLeft ? ['invalid'] : [],
    notes: [isLeft ? notWorkedOn : perhapsBuilt, 'it is a part of another one, or of TOAST'],
    isSafeToDrop: false,
    undo: null,
  };
}

const notWorkedOn = 'not valid, and nobody works on it';
const notComplete = 'some partition lacks its part: the same "dbops index create" completes it';
const perhapsBuilt = 'not valid, perhaps being built';

interface Evidence {
  hours: number;
  standbys: number;
  isStandby: boolean;
}

/** By the oid of the index. */
interface Found {
  duplicates: Map<number, CoveredRow>;
  redundant: Map<number, CoveredRow>;
  invalid: Map<number, InvalidRow>;
  bloated: Map<number, BloatedRow>;
  unused: Set<number>;
  standIns: Map<number, string>;
}

function describe(row: IndexRow, found: Found, evidence: Evidence): ListedIndex {
  const { oid, method, columns, sizeBytes, scans, lastScan } = row;
  const traits: IndexTrait[] = [];
  const notes: string[] = [];
  let isSafeToDrop = false;
  const covered = found.duplicates.get(oid) ?? found.redundant.get(oid);
  if (covered !== undefined) {
    traits.push(found.duplicates.has(oid) ? 'duplicate' : 'redundant');
    notes.push(`${displayName({ schema: row.schema, name: covered.keeper })} does its work`);
    isSafeToDrop = row.constraint === null && !row.isReplicaIdentity;
  }
  const broken = found.invalid.get(oid);
  if (broken !== undefined) {
    if (broken.isInWork === false) traits.push('invalid');
    notes.push(row.isPartitioned ? notComplete : broken.isInWork === false ? notWorkedOn : perhapsBuilt);
    isSafeToDrop = broken.isInWork === false && row.constraint === null && !row.isPartitioned;
  }
  const air = found.bloated.get(oid);
  if (air !== undefined) {
    traits.push('bloated');
    notes.push(bloatNote(air));
  }
  const standsInFor = found.standIns.get(oid);
  if (standsInFor !== undefined && covered === undefined)
    notes.push(
      `never read, but what ${displayName({ schema: row.schema, name: standsInFor })} is read for would be left to it`,
    );
  if (found.unused.has(oid)) {
    traits.push('unused');
    const doubts = doubtsOf(evidence);
    notes.push('never read', ...doubts);
    isSafeToDrop ||= doubts.length === 0;
  }
  const needed = usedOtherwise(row);
  if (needed !== undefined && (traits.length > 0 || scans === 0)) notes.push(needed);
  return {
    index: displayName(row),
    table: displayName({ schema: row.schema, name: row.table }),
    ...{ method, columns, sizeBytes, scans, lastScan, traits, notes, isSafeToDrop },
    undo: null,
  };
}

/** What keeps "never read" from being enough. */
function doubtsOf({ hours, standbys, isStandby }: Evidence): string[] {
  const note = standbyNote(standbys);
  return [
    ...(hours < evidenceHours
      ? [`scans are counted for ${hours.toFixed(0)} hours only, and it takes ${String(evidenceHours)}`]
      : []),
    ...(isStandby ? ['this is a standby: what the primary reads is not counted here'] : []),
    ...(note === undefined ? [] : [note]),
  ];
}

/** The command that serves a foreign key. */
export function createCommand({ schema, table, columns }: MissingRow): string {
  const list = columns
    .map((name) => (/^\w+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`))
    .join(',');
  return `dbops index create --table ${shellWord(writeTable({ schema, name: table }))} --columns ${shellWord(list)}`;
}

function byOid<Row extends { oid: number }>(rows: Row[]): Map<number, Row> {
  return new Map(rows.map((row) => [row.oid, row]));
}
