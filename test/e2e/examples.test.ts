// Every example in every help text: its command line is understood, and what it says works on the AI Factory.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from '../../scripts/lib/postgres-server.mjs';
import type { CommandDefinition } from '../../src/commands/command.ts';
import { commands } from '../../src/commands/index.ts';
import { startPrivateServer } from '../support/database.ts';
import { archivesNothing, closeSegments, register } from '../support/wal.ts';
import { FileStore } from '../../src/storage/file.ts';
import { openExampleShell, type ExampleShell } from '../support/examples.ts';

/** What the examples name beside the tables of the AI Factory. */
const besides = `
  create table public.loaded (like public.llm_calls including all);
  create index loaded_again_idx on public.loaded (created_at);
  create table public.audit_logs_default partition of public.audit_logs default;
  create table public.events (id bigint generated always as identity primary key, created_at timestamptz not null);
  create table public.orders (id bigint not null, created_at timestamptz not null, primary key (id, created_at))
    partition by range (created_at);
  create table public.orders_legacy partition of public.orders
    for values from (minvalue) to ('2026-12-01 00:00:00+00');
  insert into public.orders select n, '2026-10-20 00:00:00+00'::timestamptz + n * interval '1 day'
    from generate_series(1, 30) as n`;

/** Findings are a result, not a failure. */
const good = [0, 6];
/** The same for monitoring plugins. */
const ofPlugins = [0, 1, 2, 3];

const definitions: { name: string; short: string; definition: CommandDefinition }[] = [];
for (const entry of commands) {
  const { command } = await entry.load();
  definitions.push({
    name: entry.noun === null ? entry.verb : `${entry.noun} ${entry.verb}`,
    // The verb that a noun stands for may be left out.
    short:
      entry.noun === null ? entry.verb : `${entry.noun}${entry.isDefault === true ? '' : ` ${entry.verb}`}`,
    definition: command,
  });
}

/** Stands for an archive in the help; its beginning is enough there, as in life. */
const shownArchive = '20260505';
/** The same for a backup. */
const shownBackup = '20261115';

let shell: ExampleShell;
let archive: string;
let backup: string;
/** Stands for the server whose WAL is archived. */
let server: Server;
let segment: string;

beforeAll(async () => {
  shell = await openExampleShell();
  await shell.database.query(besides);
  fs.appendFileSync(
    path.join(shell.dir, 'dbops.yaml'),
    '\n  - { table: public.orders, key: created_at, interval: month }\n',
  );
  fs.writeFileSync(path.join(shell.dir, 'queries.sql'), 'select count(*) from audit_logs;\n');
  const config = path.join(shell.dir, 'dbops.yaml');
  if (!/^stores:/m.test(fs.readFileSync(config, 'utf8')))
    fs.appendFileSync(config, `\nstores: { near: { url: "file://${shell.dir}/store" } }\n`);
  const nightly = "  - { name: nightly, cron: '0 3 * * *', run: partition ensure }\n";
  fs.writeFileSync(config, fs.readFileSync(config, 'utf8').replace(/^schedule:\n/m, `$&${nightly}`));
  // A fake crontab, which is empty: cron is not installed where tests run.
  fs.writeFileSync(path.join(shell.dir, '../bin/crontab'), '#!/bin/sh\nexec cat /dev/null\n', {
    mode: 0o755,
  });
  for (const line of ['dbops partition ensure', 'dbops partition detach public.llm_calls_y2026m04 --yes']) {
    const { code, stderr } = await shell.run(line);
    expect(code, stderr).toBe(0);
  }
  const made = await shell.run(
    'dbops archive run --partition public.llm_calls_y2026m05 --until verified --json',
  );
  expect(made.code, made.stderr).toBe(0);
  const { data } = JSON.parse(made.stdout) as { data: { partitions: { archive: string }[] } };
  archive = data.partitions[0]!.archive;
  const dumped = await shell.run('dbops backup create --kind logical --json');
  expect(dumped.code, dumped.stderr).toBe(0);
  backup = (JSON.parse(dumped.stdout) as { data: { id: string } }).data.id;
  await shell.database.query(`
    alter table public.llm_calls detach partition public.llm_calls_y2026m05;
    drop table public.llm_calls_y2026m05`);
  // A job that was begun and stopped at once, to be gone on with.
  const stopped = await shell.run(
    'dbops rows purge public.event_outbox --older-than "created_at 30 days" --name outbox-cleanup --max-time 0s --yes',
  );
  expect(stopped.code, stopped.stderr).toBe(5);
  server = await startPrivateServer(archivesNothing);
  await register(server, [new FileStore('near', path.join(shell.dir, '../store'))]);
  [segment = ''] = await closeSegments(server, 1);
  const base = await shell.run(`dbops backup create --kind base --url ${server.url}`);
  expect(base.code, base.stderr).toBe(0);
});
afterAll(() => server.stop());

describe.each(definitions)('$name', ({ name, short, definition }) => {
  const examples = definition.examples.map(({ command }) => command);

  it('has examples of its own', () => {
    expect(examples.length).toBeGreaterThan(0);
    expect(examples.filter((example) => !example.includes(`dbops ${short}`))).toEqual([]);
  });

  it.each(examples)('%s', async (example) => {
    const line = harmless(example, definition);
    // A restored server reads the configuration and the store as a user of its own.
    if (name === 'restore pitr') execFileSync('chmod', ['-R', 'a+rX', path.join(shell.dir, '..')]);
    const { code, stdout, stderr } = await shell.run(line);
    const contract = line.includes('--format nagios') ? ofPlugins : good;
    expect(contract, `$ ${line}\n${stdout}${stderr}`).toContain(code);
  });
});

/** The same command line, without what it would change in the database or write elsewhere. */
function harmless(example: string, definition: CommandDefinition): string {
  const line = example
    .replace(/ > \S.*$/, ' > /dev/null')
    .replace('/etc/dbops/dbops.yaml', 'dbops.yaml')
    .replace(shownArchive, archive)
    // The example is of another day; what lies in the archive is of this one.
    .replace(/--to "time:[^"]*" --data-dir/, '--to latest --data-dir')
    .replace(shownBackup, backup)
    // Ends with Ctrl-C only.
    .replace(/ --watch( \d+)?/, '')
    .replace('--url postgresql://me@db/factory', '--url "$DATABASE_URL"');
  // Here a configuration exists, and it is never overwritten.
  if (/^dbops init\b/.test(line) && !/ --(output|stdout)\b/.test(line)) return `${line} --stdout`;
  if (/^dbops wal (push|fetch)\b/.test(line)) return inDataDirectory(line);
  if (!definition.changes || line.includes(' --dry-run')) return line;
  const flags = new Command();
  definition.declare(flags);
  const names = flags.options.map((option) => option.long);
  // A check reads only, and some commands know nothing but one of the two.
  if (names.includes('--check') && line.includes(' --check')) return line;
  if (names.includes('--dry-run')) return `${line} --dry-run`;
  throw new Error(`"${example}" changes something and its command has no --dry-run`);
}

/** As PostgreSQL runs it: in its data directory, with the names filled in. */
function inDataDirectory(line: string): string {
  const filled = line
    .replace('%f', segment)
    .replace('%p', `pg_wal/${line.includes('%f') ? 'RECOVERYXLOG' : segment}`);
  return `cd ${server.dataDir} && ${filled} --config ${shell.dir}/dbops.yaml`;
}
