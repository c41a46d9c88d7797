import { DbopsError } from '../../errors.ts';
import { visible } from '../../sql/quote.ts';
import type { Finding, Unit } from '../finding.ts';

/**
 * One line for a monitoring plugin, its longer text and its performance data; exit codes 0 ok, 1 warning, 2 critical and
 * 3 unknown. Source: Monitoring Plugins Development Guidelines, "Plugin Output" and "Performance data". Pure.
 */
export function toNagios(findings: Finding[]): { text: string; exitCode: number } {
  const count = (severity: Finding['severity']) =>
    findings.filter((finding) => finding.severity === severity).length;
  const counts = { crit: count('crit'), warn: count('warn'), unknown: count('unknown'), ok: count('ok') };
  const state =
    counts.crit > 0
      ? { word: 'CRITICAL', exitCode: 2 }
      : counts.warn > 0
        ? { word: 'WARNING', exitCode: 1 }
        : counts.unknown > 0 || counts.ok === 0
          ? { word: 'UNKNOWN', exitCode: 3 }
          : { word: 'OK', exitCode: 0 };
  const told = findings.filter(({ severity }) => ['crit', 'warn', 'unknown'].includes(severity));
  const summary =
    told.length === 0
      ? `${String(counts.ok)} ${counts.ok === 1 ? 'check' : 'checks'}`
      : `${String(counts.crit)} crit, ${String(counts.warn)} warn, ${String(counts.unknown)} unknown, ${String(counts.ok)} ok`;
  const lines = told.map((finding) => clean(lineOf(finding)));
  const data = findings.flatMap(performanceData);
  const head = `DBOPS ${state.word} - ${summary}${data.length === 0 ? '' : ` | ${data.join(' ')}`}`;
  return { text: [head, ...lines].join('\n'), exitCode: state.exitCode };
}

/** What monitoring is told where nothing could be asked: a server that cannot be reached is critical. Pure. */
export function failureForNagios(error: unknown): { text: string; exitCode: number } {
  const message = clean(error instanceof Error ? error.message : String(error));
  return error instanceof DbopsError && error.exitCode === 3
    ? { text: `DBOPS CRITICAL - ${message}`, exitCode: 2 }
    : { text: `DBOPS UNKNOWN - ${message}`, exitCode: 3 };
}

function lineOf({ severity, check, object, message, mend }: Finding): string {
  const of = object === null ? '' : ` ${object}`;
  return `${severity.toUpperCase()} ${check}${of}: ${message}${mend === null ? '' : ` (${mend})`}`;
}

/** A bar begins performance data, and a line break ends the line. */
function clean(text: string): string {
  return visible(text.replaceAll('|', '/').replaceAll(/\s+/g, ' '));
}

const units: Record<Unit, string> = { percent: '%', bytes: 'B', seconds: 's', days: '', count: '' };

function performanceData({ check, object, observed, unit, warn, crit, worse }: Finding): string[] {
  if (observed === null || unit === null) return [];
  // Quotes and equals signs would end a label.
  const label = `${check}${object === null ? '' : `/${object}`}`.replaceAll(/['=|\s]/g, '_');
  // A range is what is well: "90:" is 90 and more.
  const bound = (value: number | null) =>
    value === null ? '' : `${String(value)}${worse === 'below' ? ':' : ''}`;
  return [
    `'${label}'=${String(Math.round(observed * 1000) / 1000)}${units[unit]};${bound(warn)};${bound(crit)}`,
  ];
}
