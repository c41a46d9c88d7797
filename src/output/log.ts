import { writeSync } from 'node:fs';
import pino from 'pino';
import { paint } from './style.ts';

export type LogFields = { event: string } & Record<string, unknown>;

/** The log on stderr. Events have stable names, so that machines can wait for them. */
export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export interface LogOptions {
  format: 'text' | 'json';
  level: 'debug' | 'info' | 'warn';
}

/** A synchronous logger on file descriptor 2. No pino transports: their worker threads break in a bundle. */
export function createLog(options: LogOptions): Log {
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: 'message',
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => writeStderr(options.format === 'json' ? line : formatLine(line)) },
  );
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

function formatLine(line: string): string {
  const record = JSON.parse(line) as {
    level: string;
    time: string;
    message?: string;
    event?: string;
    [key: string]: unknown;
  };
  const { level, time, message } = record;
  const clock = time.slice(11, 19);
  const label =
    level === 'info'
      ? ''
      : level === 'warn'
        ? paint('yellow', 'warning: ', 2)
        : level === 'error'
          ? paint('red', 'error: ', 2)
          : '';
  return `${paint('dim', clock, 2)} ${label}${message ?? record.event ?? ''}\n`;
}
