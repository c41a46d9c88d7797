/** unknown: could not be read; skipped: does not apply here. */
export type Severity = 'ok' | 'skipped' | 'unknown' | 'warn' | 'crit';

/** What a check says of one object, or of the server as a whole. */
export interface Finding {
  /** "connections.used". */
  check: string;
  group: string;
  /** A table, a role, a slot ...; null for the server or the database as a whole. */
  object: string | null;
  severity: Severity;
  /** One sentence, lower case, without a full stop. */
  message: string;
  /** In `unit`; null where there is no number. */
  observed: number | null;
  unit: Unit | null;
  /** What `observed` was judged by; null where it is yes or no. */
  warn: number | null;
  crit: number | null;
  /** Whether it is worse above them or below. */
  worse: 'above' | 'below' | null;
  /** Since when the statistics behind it count; null where none are behind it. */
  countedSince: Date | null;
  /** Further facts: sessions, statements, names. */
  detail: string | null;
  /** What to do; null where nothing has to be done. */
  advice: string | null;
  /** The command or the statement that does it. */
  mend: string | null;
}

/** Units of observed values and thresholds. Shares are percent, 0 to 100 and above. */
export type Unit = 'percent' | 'count' | 'bytes' | 'seconds' | 'days';

/** For --fail-on and for sorting: unknown counts as warn. */
export function severityRank(severity: Severity): number {
  return { ok: 0, skipped: 0, unknown: 1, warn: 2, crit: 3 }[severity];
}

/** Whether a finding is as bad as `least`, or worse; unknown counts as warn. Pure. */
export function isAtLeast(severity: Severity, least: 'warn' | 'crit'): boolean {
  return least === 'crit' ? severity === 'crit' : severityRank(severity) >= 1;
}
