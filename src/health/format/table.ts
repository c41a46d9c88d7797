import { paint } from '../../output/style.ts';
import { renderTable } from '../../output/table.ts';
import { visible } from '../../sql/quote.ts';
import { groups } from '../check.ts';
import { severityRank, type Finding, type Severity } from '../finding.ts';

const colours = { ok: 'green', skipped: 'dim', unknown: 'yellow', warn: 'yellow', crit: 'red' } as const;

/** How many findings of each severity there are, the worst first. Pure. */
export function countBySeverity(findings: Finding[]): Record<Severity, number> {
  const counts = { crit: 0, warn: 0, unknown: 0, skipped: 0, ok: 0 };
  for (const { severity } of findings) counts[severity] += 1;
  return counts;
}

/** A report for people, the worst first, with what mends it; `all`: what is well, too. */
export async function toTable(findings: Finding[], all: boolean): Promise<string> {
  const order = (finding: Finding) => groups.findIndex((group) => group === finding.group);
  const shown = findings
    .filter(({ severity }) => all || severityRank(severity) > 0)
    .sort((a, b) => severityRank(b.severity) - severityRank(a.severity) || order(a) - order(b));
  const words = (Object.entries(countBySeverity(findings)) as [Severity, number][])
    .filter(([, count]) => count > 0)
    .map(([severity, count]) => paint(colours[severity], `${String(count)} ${severity}`));
  const summary = words.join(', ');
  if (shown.length === 0) return summary;
  const table = await renderTable(shown, [
    { title: 'severity', value: (row) => paint(colours[row.severity], row.severity) },
    { title: 'check', value: (row) => row.check },
    { title: 'object', value: (row) => (row.object === null ? '' : visible(row.object)) },
    {
      title: 'what',
      value: (row) => visible(row.detail === null ? row.message : `${row.message}; ${row.detail}`),
    },
    { title: 'what mends it', value: (row) => visible(row.mend ?? row.advice ?? '') },
  ]);
  return `${table}\n${summary}`;
}
