import { evidenceHours, listUnused } from '../../indexes/evidence.ts';
import { createCommand } from '../../indexes/list.ts';
import { humanBytes } from '../../output/human.ts';
import { shellWord } from '../../output/shell-word.ts';
import {
  duplicateIndexes,
  foreignKeysWithoutIndex,
  indexUsage,
  redundantIndexes,
  type CoveredRow,
  type IndexRow,
  type MissingRow,
} from '../../sql/indexes.ts';
import { invalidIndexes, type InvalidRow } from '../../sql/invalid-indexes.ts';
import { displayName, ident, relation, visible } from '../../sql/quote.ts';
import { sqlCheck, type Check, type Look, type Observation } from '../check.ts';

const megabyte = 1024 * 1024;

const weekly = ['weekly', 'monthly'] as const;

export const indexes: Check[] = [
  sqlCheck<InvalidRow>({
    id: 'indexes.invalid',
    group: 'indexes',
    answers: 'which indexes are not valid, and are not being built at the moment',
    why: 'A CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY that was stopped leaves an index that every write has to keep and no query may read.',
    advice: 'Rebuild it, or drop it, concurrently.',
    profiles: ['daily', 'weekly', 'monthly', 'deploy'],
    question: invalidIndexes,
    judge: (rows) => ({
      observations: rows.map(invalidObservation),
      summary: 'every index is valid',
    }),
  }),
  sqlCheck<CoveredRow>({
    id: 'indexes.duplicate',
    group: 'indexes',
    answers: 'which indexes are the same as another one of their table',
    why: 'Each write pays for both, and no query gains from the second.',
    advice: 'Drop the one that is named; the other one stays.',
    profiles: weekly,
    question: ({ server }) => duplicateIndexes(server.versionNum),
    judge: (rows) => covered(rows, 'is the same as', 'no index is there twice'),
  }),
  sqlCheck<CoveredRow>({
    id: 'indexes.redundant',
    group: 'indexes',
    answers: 'which indexes are the beginning of another one of their table',
    why: 'What the shorter one can find, the longer one finds as well; each write pays for both.',
    advice: 'Drop the shorter one, unless the longer one is so much larger that reads of it are felt.',
    thresholds: { unit: 'bytes', worse: 'above', warn: 10 * megabyte, crit: null },
    source: 'warn: the size from which PgHero tells of unused indexes; what is smaller costs little.',
    profiles: weekly,
    question: ({ server }) => redundantIndexes(server.versionNum),
    judge: (rows) => covered(rows, 'is the beginning of', 'no larger index is the beginning of another one'),
  }),
  sqlCheck<IndexRow>({
    id: 'indexes.unused',
    group: 'indexes',
    answers: 'which indexes nobody has read since the statistics count',
    why: 'Each write keeps them, each backup carries them, and VACUUM reads them through.',
    advice:
      'Look on every standby as well, whose reads are not counted here; then drop it, with the statement that makes it again kept.',
    thresholds: { unit: 'bytes', worse: 'above', warn: 10 * megabyte, crit: null },
    source: 'warn: PgHero (10 MB); a week of statistics at least, so that weekly reports are in them.',
    profiles: weekly,
    countedHours: evidenceHours,
    notOnStandby:
      'a standby counts its own reads alone: ask the primary, then compare with "inspect indexes" here',
    question: ({ server }) => indexUsage(server.versionNum),
    judge: (rows) => ({
      observations: listUnused(rows).unused.map(unusedObservation),
      summary: `${String(rows.length)} indexes, and no larger one that is there for reading was never read`,
    }),
  }),
  sqlCheck<MissingRow>({
    id: 'indexes.foreign-keys',
    group: 'indexes',
    answers: 'which foreign keys have no index on their side',
    why: 'Deleting a row of the other table, or changing its key, reads this whole table each time.',
    advice: 'Create an index that begins with the columns of the key, unless rows there are never deleted.',
    thresholds: { unit: 'bytes', worse: 'above', warn: 10 * megabyte, crit: null },
    source: 'warn: postgres_dba tells of tables above 9 MB; smaller ones are read in no time.',
    profiles: weekly,
    question: foreignKeysWithoutIndex,
    judge: (rows) => ({
      observations: rows.map(missingObservation),
      summary: 'every foreign key of a larger table has an index',
    }),
  }),
];

/** How an index stands in findings and in thresholds by object: schema.index. */
const nameOf = ({ schema, name }: { schema: string; name: string }) => displayName({ schema, name });

function invalidObservation(row: InvalidRow): Observation {
  const object = nameOf(row);
  const table = displayName({ schema: row.schema, name: row.table });
  const common = { object, value: row.sizeBytes };
  if (row.isInWork === true)
    return { ...common, severity: 'ok', message: `the index of ${table} is being built, rebuilt or dropped` };
  if (row.isInWork === null)
    return {
      ...common,
      severity: 'unknown',
      message: `an index of ${table} is being built, and this role may not see whether it is this one`,
      advice: 'Give the role what it takes, as a superuser, or ask again later.',
      mend: `grant pg_read_all_stats to ${ident(row.role)};`,
    };
  if (row.isPartitioned)
    return {
      ...common,
      message: `the index of ${table} is not valid: some partition lacks its part of it`,
      advice: 'Create the index once more with dbops: it builds and attaches what is missing.',
      mend: 'dbops index create --table <table> --columns <columns>',
    };
  if (row.isLeftover)
    return {
      ...common,
      message: `REINDEX CONCURRENTLY of ${table} was stopped and left it`,
      advice: 'Drop it: the index itself is there beside it. Then reindex again.',
      mend: `drop index concurrently ${relation(row)};`,
    };
  return {
    ...common,
    message: `the index of ${table} is not valid, and nobody works on it`,
    mend: `reindex index concurrently ${relation(row)};`,
  };
}

function covered(rows: CoveredRow[], is: string, summary: string): Look {
  return { observations: rows.map((row) => coveredObservation(row, is)), summary };
}

function coveredObservation(row: CoveredRow, is: string): Observation {
  const common = {
    object: nameOf(row),
    value: row.sizeBytes,
    message: `the index of ${displayName({ schema: row.schema, name: row.table })} ${is} ${visible(row.keeper)} (${humanBytes(row.sizeBytes)})`,
  };
  if (row.constraint !== null)
    return {
      ...common,
      advice: 'It belongs to a constraint: drop that, where the other one does its work.',
      mend: `alter table ${relation({ schema: row.schema, name: row.table })} drop constraint ${ident(row.constraint)};`,
    };
  if (row.isReplicaIdentity)
    return { ...common, advice: 'It is the replica identity of its table: make the other one that first.' };
  return { ...common, mend: `dbops index drop ${shellWord(nameOf(row))}` };
}

function unusedObservation(row: IndexRow): Observation {
  return {
    object: nameOf(row),
    value: row.sizeBytes,
    message: `the index of ${displayName({ schema: row.schema, name: row.table })} was never read (${humanBytes(row.sizeBytes)})`,
    detail: `on ${row.columns.map(visible).join(', ')}; an index that is younger than the statistics was counted for a shorter time`,
    mend: `dbops index drop ${shellWord(nameOf(row))}`,
  };
}

function missingObservation(row: MissingRow): Observation {
  const table = displayName({ schema: row.schema, name: row.table });
  const columns = row.columns.map(visible).join(', ');
  return {
    object: table,
    value: row.sizeBytes,
    message: `no index begins with (${columns}) of the foreign key ${visible(row.constraint)} to ${visible(row.target)}`,
    mend: createCommand(row),
  };
}
