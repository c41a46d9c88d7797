import { Option } from 'commander';
import { profiles, type Profile } from '../../health/check.ts';
import { isAtLeast, type Finding } from '../../health/finding.ts';
import { toJunit } from '../../health/format/junit.ts';
import { failureForNagios, toNagios } from '../../health/format/nagios.ts';
import { countBySeverity, toTable } from '../../health/format/table.ts';
import { chooseChecks } from '../../health/plan.ts';
import { runChecks } from '../../health/run.ts';
import { DbopsError } from '../../errors.ts';
import { countedSince, getHealthFacts } from '../../sql/health-facts.ts';
import { defineCommand, type Result } from '../command.ts';
import { storesOf } from '../stores.ts';

interface Options {
  profile?: Profile;
  only?: string[];
  skip?: string[];
  format: 'table' | 'nagios' | 'junit';
  all?: boolean;
  failOn: 'warn' | 'crit';
}

const list = (value: string, previous: string[] = []) => [
  ...previous,
  ...value.split(',').map((name) => name.trim()),
];

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops health', about: 'what is wrong, why, and which command mends it' },
    { command: 'dbops health --only connections,locks.waits', about: 'a group and a check' },
    { command: 'dbops health run --profile deploy --format junit', about: 'for CI; "run" may be left out' },
    { command: 'dbops health --format nagios', about: 'for monitoring; exit codes 0 to 3' },
  ],
  notes:
    'Exit 6 with findings at or above --fail-on. What could not be read is unknown and counts as warn. With --format nagios the exit code is 0 ok, 1 warning, 2 critical, 3 unknown.',
  declare(cmd) {
    cmd.addOption(
      new Option('--profile <name>', 'the checks of one occasion; default daily').choices(profiles),
    );
    cmd.option('--only <checks>', 'checks or groups, with commas', list);
    cmd.option('--skip <checks>', 'checks or groups to leave out', list);
    cmd.option('--all', 'show what is well, too');
    cmd.addOption(
      new Option('--format <format>', 'for people, for monitoring or for CI')
        .choices(['table', 'nagios', 'junit'])
        .default('table'),
    );
    cmd.addOption(
      new Option('--fail-on <severity>', 'the least severity that makes the exit code 6')
        .choices(['warn', 'crit'])
        .default('warn'),
    );
  },
  failure: (error, options) => (options.format === 'nagios' ? failureForNagios(error) : undefined),
  async run({ options, settings, connect, now, log, signal }): Promise<Result> {
    if (options.json === true && options.format !== 'table')
      throw new DbopsError('usage', `--json and --format ${options.format} exclude each other`);
    const chosen = chooseChecks(settings, options);
    const db = await connect();
    const stores = storesOf({ settings });
    try {
      const facts = await getHealthFacts(db);
      const context = { db, facts, settings, now: now(db), signal, log, openStore: stores.open };
      const findings = await runChecks(context, chosen);
      return report(findings, options, countedSince(facts));
    } finally {
      await stores.closeAll();
    }
  },
});

function report(findings: Finding[], options: Options, countedSince: Date): Result {
  const counts = countBySeverity(findings);
  const data = { counts, countedSince, findings };
  const hasFailed = findings.some(({ severity }) => isAtLeast(severity, options.failOn));
  const exitCode = hasFailed ? 6 : 0;
  switch (options.format) {
    case 'nagios':
      return { data, ...toNagios(findings) };
    case 'junit':
      return { data, text: toJunit(findings), exitCode };
    case 'table':
      return { data, text: toTable(findings, options.all === true), exitCode };
  }
}
