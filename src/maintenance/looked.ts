import { humanBytes, humanCount } from '../output/human.ts';
import type { BloatRow } from '../sql/health-bloat.ts';
import { displayName } from '../sql/quote.ts';
import type { VacuumNeedRow } from '../sql/vacuum-need.ts';
import { changedLines, deadLines, freezeLines, nameOf, type Verb } from './choose.ts';

/** What was looked at where nothing is to be done, and what comes nearest to it. */
export interface Looked {
  /** In the plural. */
  what: string;
  count: number;
  nearest: Nearest | null;
}

interface Nearest {
  object: string;
  /** Its figure, against the line from where on it is due. */
  why: string;
  /** 1: it is due. */
  share: number;
}

/** Tables, and the one that is nearest to its line; one that this role may not maintain is no candidate. Pure. */
export function lookAtTables(rows: VacuumNeedRow[], verb: Verb): Looked {
  const candidates = rows
    .filter(({ mayMaintain }) => mayMaintain)
    .flatMap((row) =>
      linesOf(row, verb).map(({ count, trigger, what }) => ({
        object: displayName(nameOf(row)),
        why: `${humanCount(count ?? 0)} ${what}, due from ${humanCount(trigger ?? 0)}`,
        share: trigger === null ? 0 : (count ?? 0) / Math.max(1, trigger),
      })),
    );
  return { what: 'tables with those of the catalog', count: rows.length, nearest: nearestOf(candidates) };
}

function linesOf(row: VacuumNeedRow, verb: Verb) {
  const vacuum = verb === 'analyze' ? [] : [...freezeLines(row), ...deadLines(row)];
  return verb === 'vacuum' ? vacuum : [...vacuum, ...changedLines(row)];
}

/** Indexes, and the one with the most air for its size. Pure. */
export function lookAtIndexes(
  rows: BloatRow[],
  { bloatBytes, bloatShare }: { bloatBytes: number; bloatShare: number },
): Looked {
  const candidates = rows.flatMap((row) => {
    const { sizeBytes, wastedBytes } = row;
    if (wastedBytes === null || wastedBytes <= 0 || sizeBytes <= 0) return [];
    const air = wastedBytes / sizeBytes;
    return [
      {
        object: displayName(row),
        why:
          `by estimate ${humanBytes(wastedBytes)} of ${humanBytes(sizeBytes)} are air (${percent(air)}), ` +
          `due from ${humanBytes(bloatBytes)} and ${percent(bloatShare)}`,
        share: Math.min(wastedBytes / Math.max(1, bloatBytes), air / bloatShare),
      },
    ];
  });
  return { what: 'btree indexes of more than a page', count: rows.length, nearest: nearestOf(candidates) };
}

function nearestOf(candidates: Nearest[]): Nearest | null {
  const [first] = candidates.filter(({ share }) => share > 0).sort((a, b) => b.share - a.share);
  return first ?? null;
}

/** One line for each. Pure. */
export function describeLooked({ what, count, nearest }: Looked): string {
  const seen = `${humanCount(count)} ${what} were looked at`;
  if (nearest === null) return seen;
  const { object, why, share } = nearest;
  return `${seen}; the nearest is ${object}: ${why} (${percent(share)} of the way)`;
}

/** Rounded down: what is not due is not 100 %. */
function percent(share: number): string {
  return `${String(Math.floor(share * 100))} %`;
}
