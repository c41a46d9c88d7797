import { parseBound } from '../../partition/model/bounds.ts';
import { duckIdent, duckLiteral, type Engine } from '../parquet/duckdb.ts';
import { sourceColumns } from '../parquet/make.ts';
import { planColumns } from '../parquet/columns.ts';
import type { Manifest } from '../manifest.ts';
import type { StoredArchive } from './find.ts';

/** A column as a query sees it. */
export interface ViewColumn {
  name: string;
  /** DuckDB's type. */
  type: string;
}

/** An archive with what decides which of its rows count, and whether it can hold what is asked for. */
export interface CoveredArchive extends StoredArchive {
  columns: ViewColumn[];
  /** A condition that all its rows fulfil, by its bounds; null where they tell nothing. */
  bounds: string | null;
  /** Conditions that leave out what a newer archive holds. */
  without: string[];
}

/** What is read, and what a newer archive replaces. */
export interface Coverage {
  current: CoveredArchive[];
  superseded: { archive: StoredArchive; by: string }[];
}

interface KeyRange {
  index: number;
  key: string;
  type: string;
  /** Null: open. */
  from: string | null;
  to: string | null;
  /** Of several columns only the first one counts: then its upper bound may still be met. */
  isWide: boolean;
}

/**
 * Settles which archives of a table count: of those with the same bounds the newest, and of those that overlap otherwise
 * the newer one for what both may hold, so that no row is counted twice. The engine compares the bounds, in their type.
 */
export async function settleCoverage(engine: Engine, archives: StoredArchive[]): Promise<Coverage> {
  const newestFirst = [...archives].sort((a, b) => (age(a.manifest) < age(b.manifest) ? 1 : -1));
  const superseded: Coverage['superseded'] = [];
  const byBounds = new Map<string, StoredArchive>();
  for (const archive of newestFirst) {
    const newer = byBounds.get(archive.manifest.bounds);
    if (newer === undefined) byBounds.set(archive.manifest.bounds, archive);
    else superseded.push({ archive, by: newer.manifest.id });
  }
  const candidates = [...byBounds.values()].map((archive): CoveredArchive & { range: KeyRange | null } => {
    const columns = viewColumns(archive.manifest);
    const range = keyRange(archive.manifest, columns);
    return { ...archive, columns, range, bounds: range === null ? null : condition(range), without: [] };
  });
  const overlaps = await findOverlaps(
    engine,
    candidates.flatMap(({ range }, index) => (range === null ? [] : [{ ...range, index }])),
  );
  const gone = new Set<number>();
  for (const { older, newer, isCovered } of overlaps) {
    const [archive, by] = [candidates[older], candidates[newer]];
    if (archive === undefined || by === undefined || by.range === null || gone.has(older)) continue;
    if (isCovered) {
      gone.add(older);
      superseded.push({ archive, by: by.manifest.id });
    } else archive.without.push(`(${condition(by.range)}) is not true`);
  }
  return { current: candidates.filter((_, index) => !gone.has(index)), superseded };
}

/** In order of the snapshot: an export may end after a newer one. The id settles what is left. */
function age(manifest: Manifest): string {
  return `${manifest.snapshot.at} ${manifest.id}`;
}

/** The columns as they are in Parquet, or will be when it is made of the parts. */
function viewColumns(manifest: Manifest): ViewColumn[] {
  const survives = new Map(manifest.parquet?.columns.map((column) => [column.name, column.survives]));
  return planColumns(sourceColumns(manifest)).map(({ source, parquetName, plan }) => ({
    name: parquetName,
    type: (survives.get(source.name) ?? true) ? (plan.conversion?.duckType ?? 'VARCHAR') : 'VARCHAR',
  }));
}

/** The bounds of the first key column, as PostgreSQL prints them; null for lists, hashes and defaults. */
function keyRange(manifest: Manifest, columns: ViewColumn[]): KeyRange | null {
  const bound = parseBound(manifest.bounds);
  const column = columns.find((item) => item.name === manifest.key.column);
  // A key kept as text, or masked, is not in the order of its bounds.
  const isMasked = manifest.masked.some((item) => item.column === manifest.key.column);
  if (bound.kind !== 'range' || column === undefined || column.type === 'VARCHAR' || isMasked) return null;
  const [from, to] = [bound.from[0], bound.to[0]];
  return {
    index: 0,
    key: duckIdent(column.name),
    type: column.type,
    from: from?.kind === 'value' ? from.text : null,
    to: to?.kind === 'value' ? to.text : null,
    isWide: bound.to.length > 1,
  };
}

function typed(range: KeyRange, text: string): string {
  return `cast(${duckLiteral(text)} as ${range.type})`;
}

function condition(range: KeyRange): string {
  const { key, from, to, isWide } = range;
  const conditions = [
    ...(from === null ? [] : [`${key} >= ${typed(range, from)}`]),
    ...(to === null ? [] : [`${key} ${isWide ? '<=' : '<'} ${typed(range, to)}`]),
  ];
  return conditions.length === 0 ? 'true' : conditions.join(' and ');
}

interface Overlap {
  older: number;
  newer: number;
  /** The newer one's bounds take in those of the older. */
  isCovered: boolean;
}

/** Pairs of ranges that share a point, of keys of one type; those with a smaller index are newer. */
async function findOverlaps(engine: Engine, ranges: KeyRange[]): Promise<Overlap[]> {
  const narrow = ranges.filter((range) => !range.isWide);
  const found: Overlap[] = [];
  for (const type of new Set(narrow.map((range) => range.type))) {
    const rows = narrow
      .filter((range) => range.type === type)
      .map((range) => {
        const [from, to] = [range.from, range.to].map((text) =>
          text === null ? 'null' : typed(range, text),
        );
        return `(${String(range.index)}, ${from ?? 'null'}, ${to ?? 'null'})`;
      });
    const pairs = await engine.rows(
      `with r (i, lo, hi) as (select * from (values ${rows.join(', ')}) as v (i, lo, hi))
       select o.i, n.i, (n.lo is null or coalesce(n.lo <= o.lo, false)) and (n.hi is null or coalesce(o.hi <= n.hi, false))
         from r as o join r as n on n.i < o.i
        where coalesce(o.lo < n.hi, true) and coalesce(n.lo < o.hi, true)
        order by o.i, n.i`,
    );
    for (const [older, newer, isCovered] of pairs) {
      found.push({ older: Number(older), newer: Number(newer), isCovered: isCovered === true });
    }
  }
  return found;
}
