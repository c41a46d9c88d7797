import { DbopsError } from '../../errors.ts';
import type { LedgerRow } from '../../sql/ledger.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { isOnGrid } from '../model/grid.ts';
import { gridOfBranch } from '../model/diagnose.ts';
import type { Point } from '../model/key.ts';
import { describeRunway, runwayOf } from '../model/runway.ts';
import type { Branch, PartitionSet } from '../model/set.ts';
import { wantedPartitions } from '../create/wanted.ts';

export type Severity = 'ok' | 'unknown' | 'warn' | 'crit';

/** What a finding may be about; stable, for monitoring goes by it. */
export type PartitionCheck =
  | 'configuration'
  | 'runway'
  | 'gap'
  | 'bounds'
  | 'bounds-off-grid'
  | 'detach-pending'
  | 'default-rows'
  | 'leaf-differs'
  | 'index'
  | 'archive'
  | 'archive-failed'
  | 'archive-unproven'
  | 'archive-copies'
  | 'convert-begun'
  | 'leftover'
  | 'state'
  | 'ensure-overdue'
  | 'detach-interrupted'
  | 'drop-overdue'
  | 'detached-forgotten'
  | 'not-configured';

/** Something that `partition check` has seen, with the command that mends it. */
export interface Finding {
  check: PartitionCheck;
  object: string;
  severity: Severity;
  message: string;
  mend: string;
}

/** The order of severities for --fail-on: unknown counts as warn. */
export function severityRank(severity: Severity): number {
  return { ok: 0, unknown: 1, warn: 1, crit: 2 }[severity];
}

/**
 * Runway thresholds: crit when less than one whole period is ahead (the next failed run stops inserts), warn when less
 * than half of the configured premake is. Source: the premake that the user chose is the margin that the user wants.
 */
export function checkRunway(set: PartitionSet, current: Point): Finding[] {
  const runway = runwayOf(set, current);
  if (runway.isEndless) return [];
  const [branch] = set.branches;
  if (branch === undefined) return [];
  const grid = gridOfBranch(set, branch);
  const index = grid.index(current);
  const micros = runway.days === null ? (runway.ids ?? 0) : runway.days * 86_400_000_000;
  const end = current + BigInt(Math.round(micros));
  const periodsAhead = grid.index(end) - index - 1n;
  const { premake } = set.settings;
  const severity: Severity =
    micros <= 0 || (periodsAhead < 1n && premake > 0)
      ? 'crit'
      : periodsAhead < BigInt(Math.ceil(premake / 2))
        ? 'warn'
        : 'ok';
  if (severity === 'ok') return [];
  return [
    {
      check: 'runway',
      object: set.label,
      severity,
      message: `${describeRunway(runway)} left until an ${runway.then === 'insert fails' ? 'insert fails' : 'insert goes to the default partition'}; ${String(premake)} periods ahead are configured`,
      mend: `dbops partition ensure ${set.label}`,
    },
  ];
}

/** Gaps between bounds, and bounds that lie beside the configured grid. */
export function checkBounds(set: PartitionSet, current: Point): Finding[] {
  return set.branches.flatMap((branch) => {
    try {
      return branchBounds(set, branch, current);
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      return [
        {
          check: 'bounds',
          object: displayName(branch),
          severity: 'crit' as const,
          message: [error.message, error.detail].filter((text) => text !== undefined).join('; '),
          mend: error.hint ?? 'correct its entry in the configuration',
        },
      ];
    }
  });
}

function branchBounds(set: PartitionSet, branch: Branch, current: Point): Finding[] {
  const object = displayName(branch);
  const grid = gridOfBranch(set, branch);
  const { gaps } = wantedPartitions(set, branch, grid, current, { fillGaps: false });
  const findings = gaps.map((gap): Finding => ({
    check: 'gap',
    object,
    severity: branch.defaultPartition === undefined && gap.to > current ? 'crit' : 'warn',
    message: `no partition from ${set.codec.format(gap.from)} to ${set.codec.format(gap.to)}`,
    mend: `dbops partition ensure ${set.label} --fill-gaps`,
  }));
  if (!grid.isNominal && branch.partitions.length > 0) {
    findings.push({
      check: 'bounds-off-grid',
      object,
      severity: 'warn',
      message: `its bounds do not lie on the ${String(set.settings.interval)} grid of time zone ${set.zone.name}; new partitions continue the bounds that are there`,
      mend: 'set "timezone" in its entry to the zone that the bounds were made in, if that is what was meant',
    });
  }
  for (const item of branch.partitions) {
    const { range } = item;
    const off = [range?.from, range?.to].find((end) => end !== undefined && !isOnGrid(grid, end));
    if (off === undefined) continue;
    findings.push({
      check: 'bounds-off-grid',
      object: displayName(item),
      severity: 'warn',
      message: `its bound ${set.codec.format(off)} does not lie on the grid of the newer partitions`,
      mend: 'nothing to be done while rows are in it; it leaves with its retention',
    });
  }
  return findings;
}

/** A detach that was interrupted hides rows. */
export function checkPending(set: PartitionSet): Finding[] {
  return set.branches.flatMap((branch) =>
    branch.pending.map((item): Finding => ({
      check: 'detach-pending',
      object: displayName(item),
      severity: 'crit',
      message: 'its detach was interrupted: its rows are in no query, inserts of its range fail',
      mend: `dbops partition ensure ${set.label}`,
    })),
  );
}

/** Detached partitions that nobody has dropped though their date is past, or that no ledger names as due. */
export function checkDetached(rows: LedgerRow[], now: Date): Finding[] {
  return rows.flatMap((row): Finding[] => {
    const object = displayName(row);
    if (row.state === 'detaching' && !row.isAttached && row.exists) {
      return [
        {
          check: 'detach-interrupted',
          object,
          severity: 'warn',
          message: 'it was detached by a run that was killed before it could mark it',
          mend: 'dbops partition detach --due',
        },
      ];
    }
    if (row.state !== 'detached' || !row.exists || row.isAttached) return [];
    if (row.dropAfter !== null && row.dropAfter <= now) {
      return [
        {
          check: 'drop-overdue',
          object,
          severity: 'warn',
          message: `it was to be dropped after ${row.dropAfter.toISOString()}`,
          mend: row.policy === 'archive' ? 'dbops archive run' : 'dbops partition drop --due',
        },
      ];
    }
    const days = row.detachedAt === null ? 0 : (now.getTime() - row.detachedAt.getTime()) / 86_400_000;
    if (row.dropAfter !== null || days < 30) return [];
    return [
      {
        check: 'detached-forgotten',
        object,
        severity: 'warn',
        message: `it was detached ${String(Math.floor(days))} days ago and no policy drops it`,
        mend: `dbops partition drop ${object} --confirm ${visible(row.name)}, or attach it again`,
      },
    ];
  });
}
