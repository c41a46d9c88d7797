import { Option } from 'commander';
import { paint } from '../../output/style.ts';
import { renderTable } from '../../output/table.ts';
import { severityRank, type Finding } from '../../partition/inspect/check.ts';
import { checkPartitions } from '../../partition/inspect/check-all.ts';
import { selectTables } from '../../partition/model/select.ts';
import { visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';
import { addTables } from '../options.ts';

interface Options {
  failOn: 'warn' | 'crit';
}

const colours = { ok: 'green', unknown: 'yellow', warn: 'yellow', crit: 'red' } as const;

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops partition check', about: 'all configured sets, and what no entry names' },
    {
      command: 'dbops partition check public.audit_logs --fail-on crit',
      about: 'one table; exit 6 only when it is critical',
    },
  ],
  notes: 'Exit 6 with findings at or above --fail-on. What could not be read is unknown and counts as warn.',
  declare(cmd) {
    addTables(cmd);
    cmd.addOption(
      new Option('--fail-on <severity>', 'the least severity that makes the exit code 6')
        .choices(['warn', 'crit'])
        .default('warn'),
    );
  },
  async run({ args, options, settings, job }): Promise<Result> {
    const chosen = selectTables(settings, args);
    const result = await checkPartitions({ ...(await job(null)), settings: chosen }, args.length === 0);
    const findings = result.findings.sort((a, b) => severityRank(b.severity) - severityRank(a.severity));
    const failed = findings.some((finding) => severityRank(finding.severity) >= severityRank(options.failOn));
    return {
      data: { ...result, findings },
      text:
        findings.length === 0 ? `${String(result.tables)} tables checked, nothing found` : render(findings),
      exitCode: failed ? 6 : 0,
    };
  },
});

function render(findings: Finding[]): Promise<string> {
  return renderTable(findings, [
    { title: 'severity', value: (row) => paint(colours[row.severity], row.severity) },
    { title: 'check', value: (row) => row.check },
    { title: 'object', value: (row) => visible(row.object) },
    { title: 'what', value: (row) => row.message },
    { title: 'what mends it', value: (row) => row.mend },
  ]);
}
