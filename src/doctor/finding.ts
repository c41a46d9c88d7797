/** ok: as it should be; warn: something will be missed; crit: a command will fail; unknown: could not be looked at. */
export type Status = 'ok' | 'warn' | 'crit' | 'unknown';

/** One thing that was looked at. */
export interface Finding {
  /** Stable name for programs, e.g. "server.pooler". */
  check: string;
  status: Status;
  text: string;
  /** What helps: a command, a setting, a GRANT. */
  hint?: string | undefined;
}

export function ok(check: string, text: string): Finding {
  return { check, status: 'ok', text };
}

export function finding(check: string, status: Exclude<Status, 'ok'>, text: string, hint?: string): Finding {
  return { check, status, text, hint };
}
