import { humanCount } from '../../output/human.ts';
import { shellWord } from '../../output/shell-word.ts';
import {
  autovacuumOff,
  deadRows,
  fewRows,
  missingStatistics,
  overdue,
  type AutovacuumOffRow,
  type DeadRowsRow,
  type MissingStatisticsRow,
  type OverdueRow,
} from '../../sql/health-vacuum.ts';
import { displayName, ident, relation } from '../../sql/quote.ts';
import { sqlCheck, type Check, type CheckContext, type Look, type Observation } from '../check.ts';

const profiles = ['daily', 'weekly', 'monthly'] as const;
const notOnStandby = 'the primary vacuums and counts';

type Judging = Omit<CheckContext, 'db'>;

const nameOf = ({ schema, table }: { schema: string; table: string }) => displayName({ schema, name: table });
const maintain = (verb: string, row: { schema: string; table: string }) =>
  `dbops maintenance ${verb} --table ${shellWord(nameOf(row))}`;

function oneOf(rows: { total: number }[]): string | undefined {
  const total = rows[0]?.total ?? 0;
  return total > rows.length ? `one of ${String(total)} tables; the worst are shown` : undefined;
}

/** Without track_counts nothing is counted, and every table looks untouched. */
function counted({ facts }: Judging, look: () => Look): Look {
  if (facts.parameters['track_counts'] !== 'off') return look();
  const message = 'track_counts is off, so that nothing is counted and autovacuum finds nothing to do';
  const mend = 'alter system set track_counts = on; select pg_catalog.pg_reload_conf();';
  return { observations: [{ object: null, value: null, message, mend, severity: 'unknown' }], summary: '' };
}

function overdueCheck(work: 'vacuum' | 'analyze', about: Pick<Check, 'id' | 'answers' | 'why'>): Check {
  return sqlCheck<OverdueRow>({
    ...about,
    group: 'vacuum',
    advice:
      'Find out what keeps autovacuum: too few workers, a low cost limit, locks that cancel it, or an old snapshot that keeps rows alive.',
    thresholds: { unit: 'percent', worse: 'above', warn: 200, crit: null },
    source: `dbops: autovacuum begins at 100 % of the table's own line, so twice that says that it does not come; from ${humanCount(fewRows)} rows on (pgEdge)`,
    profiles,
    notOnStandby,
    isCounted: true,
    question: ({ server, floor }) => overdue(work, server.versionNum, floor),
    judge: (rows, context) =>
      counted(context, () => ({
        observations: rows.map((row) => ({
          object: nameOf(row),
          value: row.trigger > 0 ? (row.rows / row.trigger) * 100 : row.rows * 100,
          message: `${humanCount(row.rows)} ${row.of}, and autovacuum comes from ${humanCount(row.trigger)} on`,
          detail: [
            row.lastDone === null
              ? `no ${work} was counted yet`
              : `last ${work} ${row.lastDone.toISOString()}`,
            ...(row.isAutovacuumOff ? ['autovacuum is turned off for it'] : []),
            ...(oneOf(rows) === undefined ? [] : [oneOf(rows)]),
          ].join('; '),
          mend: maintain(work, row),
        })),
        summary: `no table is far beyond the line at which autovacuum ${work === 'vacuum' ? 'vacuums' : 'analyzes'} it`,
      })),
  });
}

export const vacuum: Check[] = [
  sqlCheck<DeadRowsRow>({
    id: 'vacuum.dead-rows',
    group: 'vacuum',
    answers: 'which tables hold many dead rows',
    why: 'Dead rows are read and skipped by every scan, and the space that they take grows until a vacuum frees it.',
    advice:
      'Vacuum it; when the dead rows stay, an old snapshot keeps them: "dbops health --only transactions" says whose.',
    thresholds: { unit: 'percent', worse: 'above', warn: 20, crit: null },
    source: `20 % of the rows, as is usual for OLTP; pgEdge and the PostgreSQL mixin begin at 10 %; from ${humanCount(fewRows)} dead rows on (pgEdge)`,
    profiles,
    notOnStandby,
    isCounted: true,
    question: ({ server, floor }) => deadRows(server.versionNum, floor),
    judge: (rows, context) =>
      counted(context, () => ({
        observations: rows.map((row) => {
          const value = (row.deadRows / (row.deadRows + row.liveRows)) * 100;
          return {
            object: nameOf(row),
            value,
            message: `${humanCount(row.deadRows)} dead rows, ${String(Math.round(value))} % of all`,
            detail: oneOf(rows),
            mend: maintain('vacuum', row),
          };
        }),
        summary: 'no table holds many dead rows',
      })),
  }),
  overdueCheck('vacuum', {
    id: 'vacuum.overdue',
    answers: 'which tables are far beyond their own line at which autovacuum vacuums them',
    why: 'A table that autovacuum does not reach grows, and its index-only scans read the table.',
  }),
  overdueCheck('analyze', {
    id: 'vacuum.analyze-overdue',
    answers: 'which tables are far beyond their own line at which autovacuum analyzes them',
    why: 'The planner goes by statistics of what the table was, and chooses plans that are slow for what it is.',
  }),
  sqlCheck<MissingStatisticsRow>({
    id: 'vacuum.statistics-missing',
    group: 'vacuum',
    answers: 'which tables the planner knows nothing of, partitioned tables as a whole included',
    why: 'Without statistics the planner guesses. Autovacuum never analyzes a partitioned table itself, only its partitions.',
    advice: 'Analyze it; a partitioned table again whenever its data has changed much.',
    source: `yes or no, from ${humanCount(fewRows)} rows on`,
    profiles: [...profiles, 'deploy'],
    notOnStandby,
    question: ({ server, facts }) =>
      missingStatistics(server.versionNum, facts.roles.includes('pg_read_all_data')),
    judge: ([row]) => {
      if (row === undefined) throw new Error('the server answered with no row');
      return {
        observations: [...missing(row), ...unread(row)],
        summary: `${String(row.tables)} tables with statistics`,
      };
    },
  }),
  sqlCheck<AutovacuumOffRow>({
    id: 'vacuum.autovacuum-off',
    group: 'vacuum',
    answers: 'whether autovacuum is turned off, for the server or for a table',
    why: 'What is turned off for a bulk load and forgotten grows, loses its statistics, and is frozen all at once.',
    advice: 'Turn it on again; where it is in the way, give the table a line of its own instead.',
    source: 'yes or no',
    profiles: [...profiles, 'deploy'],
    notOnStandby,
    question: autovacuumOff,
    judge: (rows, { facts }) => ({
      observations: [...offForAll(facts.parameters), ...rows.map((row) => offForOne(row, rows))],
      summary: 'autovacuum is on, for every table',
    }),
  }),
];

function missing(row: MissingStatisticsRow): Observation[] {
  return row.missing.map((table) => ({
    object: nameOf(table),
    value: null,
    severity: 'warn',
    message:
      table.kind === 'p'
        ? `this partitioned table was never analyzed as a whole, and holds about ${humanCount(table.rows)} rows`
        : `it has no statistics, and holds about ${humanCount(table.rows)} rows`,
    mend: maintain('analyze', table),
  }));
}

/** What this role may not see is not taken for there. */
function unread(row: MissingStatisticsRow): Observation[] {
  const hidden = (count: number, why: string, mend: string): Observation[] =>
    count === 0
      ? []
      : [
          {
            object: null,
            value: null,
            severity: 'unknown',
            message: `role "${row.user}" may not see the statistics of ${String(count)} tables, ${why}`,
            advice: 'Give the role what it takes, as a superuser.',
            mend,
          },
        ];
  return [
    ...hidden(row.withoutSelect, 'which it may not read', `grant pg_read_all_data to ${ident(row.user)};`),
    ...hidden(row.behindPolicies, 'which have row security', `alter role ${ident(row.user)} bypassrls;`),
  ];
}

function offForAll(parameters: Judging['facts']['parameters']): Observation[] {
  return ['autovacuum', 'track_counts']
    .filter((name) => parameters[name] === 'off')
    .map((name) => ({
      object: null,
      value: null,
      severity: 'crit',
      message: `${name} is off, so that nothing is vacuumed until freezing is forced`,
      mend: `alter system set ${name} = on; select pg_catalog.pg_reload_conf();`,
    }));
}

function offForOne(row: AutovacuumOffRow, rows: AutovacuumOffRow[]): Observation {
  const parameter = row.of === 'TOAST' ? 'toast.autovacuum_enabled' : 'autovacuum_enabled';
  return {
    object: nameOf(row),
    value: null,
    severity: 'warn',
    message: `autovacuum is turned off for ${row.of === 'TOAST' ? 'its TOAST table' : 'it'}`,
    detail: oneOf(rows),
    mend: `alter table ${relation({ schema: row.schema, name: row.table })} reset (${parameter});`,
  };
}
