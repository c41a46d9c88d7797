import { humanBytes } from '../../output/human.ts';
import { shellWord } from '../../output/shell-word.ts';
import type { CandidateRow } from '../../sql/adoption.ts';
import { displayName, visible } from '../../sql/quote.ts';
import type { LeftOut, Proposal, ProposedEntry } from './propose.ts';

/** The proposal as a commented dbops.yaml, which `config check` accepts. */
export function renderProposal(proposal: Proposal): string {
  const { entries, leftOut, candidates } = proposal;
  const parts = [
    header(proposal.database),
    entries.length === 0 ? 'partitions: []\n' : `partitions:\n${entries.map(renderEntry).join('\n')}`,
  ];
  if (leftOut.length > 0) parts.push(renderLeftOut(leftOut));
  if (candidates.length > 0) parts.push(renderCandidates(candidates));
  return parts.join('\n');
}

function header(database: string): string {
  return `# dbops.yaml, proposed by "dbops init" from what is in the database "${visible(database)}".
#
# Read it, above all the retention, which is left open: without one nothing is ever detached. Then:
#   dbops config check                  is the file valid?
#   dbops partition ensure --dry-run    what would be created?
#   dbops partition plan                what would every job do?
# "dbops help config" shows every key. The connection comes from the environment (DATABASE_URL, PGHOST ...).

defaults:
  timezone: UTC          # where a day begins for keys that are instants, unless an entry says otherwise
  premake: 6             # the current period and six more
  quarantine: 7 days     # between detach and drop
`;
}

function renderEntry(entry: ProposedEntry): string {
  const lines = entry.notes.map((note) => `  # ${note}`);
  lines.push(`  - table: ${scalar(entry.table)}`, `    key: ${scalar(entry.key)}`);
  lines.push(`    interval: ${String(entry.interval)}`);
  if (entry.epoch !== undefined) lines.push(`    epoch: ${entry.epoch}`);
  if (entry.timezone !== undefined) lines.push(`    timezone: ${scalar(entry.timezone)}`);
  if (entry.premake !== undefined) lines.push(`    premake: ${String(entry.premake)}`);
  if (entry.naming !== undefined) lines.push(`    naming: ${scalar(entry.naming)}`);
  lines.push(`    # retention: ${retention(entry)}`);
  return `${lines.join('\n')}\n`;
}

function retention(entry: ProposedEntry): string {
  if (entry.retention !== undefined) return `{ hot: ${entry.retention} }   # what pg_partman keeps`;
  return typeof entry.interval === 'number'
    ? `{ hot: ${String(entry.interval * 50)} }   # ids behind the newest; left open`
    : '{ hot: 2 years, cold: 5 years }   # left open';
}

function renderLeftOut(list: LeftOut[]): string {
  return `# Partition sets that are left out, each with the reason:\n${list
    .map(({ table, reason }) => `#   ${table}: ${reason}\n`)
    .join('')}`;
}

function renderCandidates(list: CandidateRow[]): string {
  const lines = list.flatMap((item) => {
    const column = item.columns[0];
    if (column === undefined) return [];
    const interval = column.type === 'int8' ? '10000000' : 'month';
    const use =
      item.inserted + item.changed === 0
        ? 'no statistics since their last reset'
        : `${String(item.inserted)} rows inserted, ${String(item.changed)} changed`;
    return [
      `#   ${displayName(item)}: ${humanBytes(item.sizeBytes)}, ${use}`,
      `#     dbops partition convert ${shellWord(visible(`${item.schema}.${item.name}`))} --key ${shellWord(visible(column.name))} --interval ${interval} --check`,
    ];
  });
  return `# Large tables that are hardly ever changed, worth partitioning. --check changes nothing:\n${lines.join('\n')}\n`;
}

/**
 * A YAML scalar that reads back as this text: plain where it cannot be taken for anything else, else in double quotes
 * as JSON has them, which YAML shares. ${NAME} would be filled from the environment, so it is escaped.
 */
export function scalar(text: string): string {
  const escaped = text.replaceAll(/\$\{(?=[A-Za-z_][A-Za-z0-9_]*\})/g, () => '$${');
  const isPlain =
    /^[A-Za-z_][\w./-]*$/.test(escaped) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(escaped);
  if (isPlain) return escaped;
  // JSON leaves these as they are, but YAML would end the line there or refuse them.
  return JSON.stringify(escaped).replaceAll(
    /[\u007f-\u009f\u2028\u2029\ufeff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
