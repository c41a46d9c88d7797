import { bloatedFrom } from '../../indexes/bloat.ts';
import { humanBytes } from '../../output/human.ts';
import { shellWord } from '../../output/shell-word.ts';
import { indexBloat, tableBloat, type BloatRow } from '../../sql/health-bloat.ts';
import { displayName, ident } from '../../sql/quote.ts';
import { sqlCheck, type Check, type Look, type Observation } from '../check.ts';

/** What grows and shrinks always has some air: below such a share it is not worth a rewrite. */
const leastShare = { table: 20, index: bloatedFrom.share * 100 };

const profiles = ['weekly', 'monthly'] as const;

const gigabyte = 1024 ** 3;

export const bloat: Check[] = [
  sqlCheck<BloatRow>({
    id: 'bloat.tables',
    group: 'bloat',
    answers: 'how much space of tables is air, estimated from the statistics of their columns',
    why: 'Scans read it, the cache holds it, and backups and standbys carry it.',
    advice:
      'VACUUM makes it free for new rows of the same table. To give it back, pg_repack rewrites the table without a long lock; VACUUM FULL takes the table away for as long as it lasts.',
    thresholds: { unit: 'bytes', worse: 'above', warn: gigabyte, crit: 5 * gigabyte },
    source: `check_postgres, 1 GB and 5 GB; from ${String(leastShare.table)} % of the table on`,
    profiles,
    question: ({ floor, facts }) => tableBloat(floor, facts.roles.includes('pg_read_all_data')),
    judge: (rows) => judgeBloat(rows, 'table', () => undefined),
  }),
  sqlCheck<BloatRow>({
    id: 'bloat.indexes',
    group: 'bloat',
    answers: 'how much space of btree indexes is air, estimated from the statistics of their columns',
    why: 'Vacuum does not give the pages of an index back, and every look into it reads more of them.',
    advice: 'Rebuild it concurrently, which needs the space of the new index until it is done.',
    thresholds: { unit: 'bytes', worse: 'above', warn: bloatedFrom.bytes, crit: 5 * gigabyte },
    source: `warn: pghero, 100 MB, from half of the index on (pgEdge, ${String(leastShare.index)} %); crit: check_postgres, 5 GB`,
    profiles,
    question: ({ floor, facts }) => indexBloat(floor, facts.roles.includes('pg_read_all_data')),
    judge: (rows) =>
      judgeBloat(
        rows,
        'index',
        ({ schema, name }) => `dbops maintenance reindex --index ${shellWord(displayName({ schema, name }))}`,
      ),
  }),
];

function judgeBloat(
  rows: BloatRow[],
  kind: keyof typeof leastShare,
  mend: (row: BloatRow) => string | undefined,
): Look {
  const plural = kind === 'table' ? 'tables' : 'indexes';
  const observations = rows.flatMap((row): Observation[] => {
    const { wastedBytes, sizeBytes } = row;
    const share = ((wastedBytes ?? 0) / sizeBytes) * 100;
    if (wastedBytes === null || share < leastShare[kind]) return [];
    const object = displayName({ schema: row.schema, name: row.name });
    const message = `about ${humanBytes(wastedBytes)} of ${humanBytes(sizeBytes)} are air (${String(Math.round(share))} %)`;
    const detail =
      kind === 'index' ? `of table ${displayName({ schema: row.schema, name: row.table })}` : undefined;
    return [{ object, value: wastedBytes, message, detail, mend: mend(row) }];
  });
  return {
    observations: [...observations, ...hidden(rows, plural), ...undescribed(rows, plural)],
    summary: `no ${kind} is mostly air, by estimate`,
  };
}

/** Statistics that a role may not see are left out of pg_stats without a word. */
function hidden(rows: BloatRow[], plural: string): Observation[] {
  const [first, ...others] = rows.filter(({ obstacle }) => obstacle === 'privilege');
  if (first === undefined) return [];
  return [
    {
      object: null,
      value: null,
      severity: 'unknown',
      message: `role "${first.user}" may not see the statistics of ${String(others.length + 1)} ${plural}, ${displayName(first)} among them`,
      advice: 'Give the role what it takes, as a superuser; tables with row security take bypassrls as well.',
      mend: `grant pg_read_all_data to ${ident(first.user)};`,
    },
  ];
}

function undescribed(rows: BloatRow[], plural: string): Observation[] {
  const [first, ...others] = rows.filter(({ obstacle }) => obstacle === 'statistics');
  if (first === undefined) return [];
  return [
    {
      object: null,
      value: null,
      severity: 'unknown',
      message: `${String(others.length + 1)} ${plural} have columns without statistics, ${displayName(first)} among them`,
      advice: 'Analyze their tables.',
      mend: `dbops maintenance analyze --table ${shellWord(displayName({ schema: first.schema, name: first.table }))}`,
    },
  ];
}
