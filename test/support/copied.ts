// Files in COPY's text format, written by the test server itself under the settings of an export.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import type { Session } from './database.ts';

/** What the session of an export pins. */
export const pinnedSettings: Record<string, string> = {
  row_security: 'off',
  DateStyle: 'ISO',
  IntervalStyle: 'postgres',
  extra_float_digits: '3',
  TimeZone: 'UTC',
  client_encoding: 'UTF8',
  bytea_output: 'hex',
};

/** A directory of the test, which the server may write to as well; removed after the tests of the file. */
export function sharedDirectory(): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-copied-'));
  fs.chmodSync(directory, 0o777);
  afterAll(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Pins a session as an export does. */
export async function pin(session: Session): Promise<void> {
  for (const [name, value] of Object.entries(pinnedSettings)) {
    await session.query('select set_config($1, $2, false)', [name, value]);
  }
}

/** Copies a query's rows to a file on the server's host; the test runs on the same one. */
export async function copyToFile(session: Session, query: string, file: string): Promise<number> {
  const result = await session.client.query(`copy (${query}) to '${file}'`);
  return result.rowCount ?? 0;
}
