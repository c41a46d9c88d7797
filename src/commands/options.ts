import { Option, type Command } from 'commander';
import { durationMs, parseDuration } from '../config/duration.ts';
import { DbopsError } from '../errors.ts';

/** Flags that every command takes. */
export function addGlobalOptions(command: Command): void {
  command
    .addOption(new Option('--config <file>', 'use exactly this configuration file').helpGroup('Everywhere:'))
    .addOption(new Option('--url <url>', 'the database; without a password in it').helpGroup('Everywhere:'))
    .addOption(new Option('--json', 'print one JSON document').helpGroup('Everywhere:'))
    .addOption(new Option('-q, --quiet', 'log warnings only').helpGroup('Everywhere:'))
    .addOption(new Option('-v, --verbose', 'log statements with their milliseconds').helpGroup('Everywhere:'))
    .addOption(new Option('--log-format <format>', 'text or json').helpGroup('Everywhere:'));
}

export function addDryRun(command: Command): void {
  command.option('--dry-run', 'print the plan as a psql script and change nothing');
}

export function addYes(command: Command): void {
  command.option('--yes', 'do not ask; needed where there is no terminal');
}

export function addWait(command: Command): void {
  command.option('--wait <duration>', 'wait this long for another run of dbops to end', '0s');
}

export function addTables(command: Command): void {
  command.argument('[table...]', 'tables of the configuration; all of them when none is named');
}

/** A duration given by a flag, in milliseconds. */
export function durationOption(flag: string, text: string | undefined): number {
  if (text === undefined) return 0;
  const duration = parseDuration(/^\d+$/.test(text) ? `${text} s` : text);
  if (duration === undefined) {
    throw new DbopsError('usage', `${flag} is a duration, not "${text}"`, {
      hint: 'Write it as 30s, 5min or 1h.',
    });
  }
  return durationMs(duration);
}

/** A whole number given by a flag. */
export function countOption(flag: string, text: string, least = 1): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least) return value;
  throw new DbopsError('usage', `${flag} is a whole number of at least ${String(least)}, not "${text}"`);
}
