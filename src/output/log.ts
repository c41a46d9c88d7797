import { writeSync } from 'node:fs';
import { paint } from './style.ts';

export type LogFields = { event: string } & Record<string, unknown>;

/** The log on stderr. Events have stable names, so that machines can wait for them. */
export interface Log {
  debug: (fields: LogFields, message: string) => void;
  info: (fields: LogFields, message: string) => void;
  warn: (fields: LogFields, message: string) => void;
  error: (fields: LogFields, message: string) => void;
}

export interface LogOptions {
  format: 'text' | 'json';
  level: 'debug' | 'info' | 'warn';
}

const levels = ['debug', 'info', 'warn', 'error'] as const;

/**
 * A synchronous logger on file descriptor 2: lines for people, or JSON. The library behind the JSON is loaded only for
 * it: a start with nothing to say must not pay for it.
 */
export async function createLog(options: LogOptions): Promise<Log> {
  if (options.format === 'json') {
    const { createJsonLog } = await import('./json-log.ts');
    return createJsonLog(options.level, writeStderr);
  }
  const least = levels.indexOf(options.level);
  const say = (level: (typeof levels)[number]) => (_fields: LogFields, message: string) => {
    if (levels.indexOf(level) >= least) writeStderr(formatLine(level, new Date(), message));
  };
  return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
}

/** Nothing is written: for reading commands in tests and for library use. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** A closed or full stderr must not end the work. */
export function writeStderr(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody reads the log any more; the work goes on.
  }
}

/** 17:05:43 warning: what there is to say */
function formatLine(level: (typeof levels)[number], time: Date, message: string): string {
  const clock = paint('dim', time.toISOString().slice(11, 19), 2);
  const label =
    level === 'warn' ? paint('yellow', 'warning: ', 2) : level === 'error' ? paint('red', 'error: ', 2) : '';
  return `${clock} ${label}${message}\n`;
}
