import { diagnose } from '../doctor/doctor.ts';
import type { Finding, Status } from '../doctor/finding.ts';
import { paint } from '../output/style.ts';
import { defineCommand, type Result } from './command.ts';

export const command = defineCommand({
  changes: false,
  examples: [
    { command: 'dbops doctor', about: 'what is there, what is missing, how to get it' },
    { command: 'dbops doctor --json', about: 'for programs' },
    { command: 'dbops doctor --url postgresql://me@db/factory', about: 'another server' },
  ],
  notes:
    'Exit 0 with warnings, 6 when something is crit (a command will fail), 3 when the server cannot be reached:\n' +
    'the host is reported all the same. Nothing is changed; in each store a test object is written, read and deleted.',
  declare: () => undefined,
  async run({ settings, env, connect, signal }): Promise<Result> {
    const { findings, connectionError } = await diagnose({
      settings,
      connect,
      searchPath: env['PATH'] ?? '',
      nodeVersion: process.version,
      signal,
    });
    const isCritical = findings.some((item) => item.status === 'crit');
    return {
      data: { findings },
      text: render(findings),
      exitCode: connectionError?.exitCode ?? (isCritical ? 6 : 0),
    };
  },
});

const colours = { ok: 'green', warn: 'yellow', crit: 'red', unknown: 'cyan' } as const;

/** One line a finding, its hint below it: hints are to be copied, so they are not cut to a column. */
function render(findings: Finding[]): string {
  const width = Math.max(...findings.map((item) => item.check.length));
  const lines = findings.flatMap(({ check, status, text, hint }) => [
    `${paint(colours[status], status.padEnd(7))}  ${check.padEnd(width)}  ${text}`,
    ...(hint === undefined ? [] : [`${' '.repeat(9 + width + 2)}-> ${hint}`]),
  ]);
  const count = (status: Status) => findings.filter((item) => item.status === status).length;
  const totals = (['ok', 'warn', 'crit', 'unknown'] as const)
    .map((status) => `${String(count(status))} ${status}`)
    .join(', ');
  return [...lines, '', totals].join('\n');
}
