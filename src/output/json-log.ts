import pino from 'pino';
import type { Log, LogOptions } from './log.ts';

/** One JSON document a line: level, time, event, message and fields. No transports: their worker threads break in a bundle. */
export function createJsonLog(level: LogOptions['level'], write: (line: string) => void): Log {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: 'message',
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  );
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
  };
}
