import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import * as z from 'zod';
import { exampleConfiguration } from '../../src/commands/help/example-configuration.ts';
import type { Environment } from '../../src/config/environment.ts';
import { parseFile } from '../../src/config/load.ts';
import { mask } from '../../src/config/mask.ts';
import { jsonSchema } from '../../src/config/json-schema.ts';
import { loadSettings, type Settings } from '../../src/config/settings.ts';
import { splitTable, writeTable } from '../../src/config/table-name.ts';
import { DbopsError } from '../../src/errors.ts';
import { checkEntries } from '../../src/partition/inspect/check-entries.ts';

/** The lines of the error that a file gives; empty when it is valid. */
function problems(text: string, env: Environment = {}): string[] {
  try {
    parseFile(text, 'dbops.yaml', env);
    return [];
  } catch (error) {
    if (!(error instanceof DbopsError)) throw error;
    expect(error.code).toBe('config_invalid');
    expect(error.exitCode).toBe(2);
    return (error.detail ?? '').split('\n');
  }
}

const entry = (more: string) => `partitions:\n  - table: public.a\n    key: at\n    interval: month\n${more}`;

describe('a configuration file', () => {
  it('may be empty, a comment, or have empty sections', () => {
    for (const text of ['', '# nothing yet\n', 'partitions:\n', 'connection:\ndefaults:\n', '---\n']) {
      expect(problems(text)).toEqual([]);
    }
  });

  it('has all its errors told at once, in order, each with line and path', () => {
    const text = `
defaults:
  premake: many
partitions:
  - table: public.a
    key: at
    intervall: month
    interval: monthly
    retention: { hot: 90 days, cold: 30 days }
  - key: id
    interval: 0
    premak: 3
locking: { timeot: 1s }
`;
    expect(problems(text)).toEqual([
      'dbops.yaml:3: defaults.premake: must be a number, not "many"',
      'dbops.yaml:7: partitions[0].intervall: unknown key; did you mean "interval"?',
      'dbops.yaml:8: partitions[0].interval: must be hour, day, week, month, quarter, year, or a number of ids, not "monthly"; did you mean "month"?',
      'dbops.yaml:10: partitions[1].table: is missing',
      'dbops.yaml:11: partitions[1].interval: must be greater than 0',
      'dbops.yaml:12: partitions[1].premak: unknown key; did you mean "premake"?',
      'dbops.yaml:13: locking.timeot: unknown key; did you mean "timeout"?',
    ]);
  });

  it.each([
    ['- a\n- b\n', 'dbops.yaml: (top level): must be a mapping, not a list'],
    ['just words\n', 'dbops.yaml: (top level): must be a mapping, not this text'],
    ['partition: []\n', 'dbops.yaml:1: partition: unknown key; did you mean "partitions"?'],
    [
      'zzzzzzzz: 1\n',
      'dbops.yaml:1: zzzzzzzz: unknown key; known are connection, state, log, locking, checks, defaults, stores, archive, backup, wal, partitions, rows, indexes, health, maintenance, schedule',
    ],
    ['partitions: {}\n', 'dbops.yaml:1: partitions: must be a list, not a mapping'],
    ['partitions: [a]\n', 'dbops.yaml:1: partitions[0]: must be a mapping, not "a"'],
    ['connection: { port: 70000 }\n', 'dbops.yaml:1: connection.port: must be at most 65535, not 70000'],
    ['connection: { port: 1.5 }\n', 'dbops.yaml:1: connection.port: must be a whole number, not 1.5'],
    ['log: { format: xml }\n', 'dbops.yaml:1: log.format: must be text or json, not "xml"'],
    [
      'connection: { sslmode: requires }\n',
      'dbops.yaml:1: connection.sslmode: must be disable, allow, prefer, require, verify-ca or verify-full, not this text; did you mean "require"?',
    ],
    ['state: { schema: "" }\n', 'dbops.yaml:1: state.schema: must not be empty'],
    ['defaults: { premake: -1 }\n', 'dbops.yaml:1: defaults.premake: must be at least 0, not -1'],
    ['defaults: { premake: 1.5 }\n', 'dbops.yaml:1: defaults.premake: must be a whole number, not 1.5'],
    [
      'defaults: { timezone: Asia/Soul }\n',
      'dbops.yaml:1: defaults.timezone: must be a time zone name such as Asia/Seoul, Europe/Berlin or UTC, not "Asia/Soul"',
    ],
    [
      'defaults: { timezone: "+09:00" }\n',
      'dbops.yaml:1: defaults.timezone: must be a time zone name such as Asia/Seoul, Europe/Berlin or UTC, not "+09:00"',
    ],
    ['defaults: { timezone: }\n', 'dbops.yaml:1: defaults.timezone: must be text, not empty'],
    [
      'defaults: { quarantine: soon }\n',
      'dbops.yaml:1: defaults.quarantine: must be a duration such as "90 days", "2 years" or "30s", not "soon"',
    ],
    ['defaults: { quarantine: 7 }\n', 'dbops.yaml:1: defaults.quarantine: must be text, not 7'],
    [
      'locking: { timeout: 0s }\n',
      'dbops.yaml:1: locking.timeout: must be from 1 ms to 10 s: while dbops waits for a lock, everybody else waits behind it',
    ],
  ])('refuses %j', (text, message) => {
    expect(problems(text)).toEqual([message]);
  });

  it.each([
    // 1.5 years must not become 0: everything would be past its retention.
    [
      '    retention: { hot: 1.5 years }\n',
      'partitions[0].retention.hot: must be a duration such as "90 days" or, for id ranges, a number of ids, not "1.5 years"',
    ],
    [
      '    retention: { hot: 0 days }\n',
      'partitions[0].retention.hot: must be longer than 0: every partition would be past it at once',
    ],
    [
      '    retention: { hot: 99999 years }\n',
      'partitions[0].retention.hot: must be a duration such as "90 days" or, for id ranges, a number of ids, not "99999 years"',
    ],
    [
      '    quarantine: 0.5 months\n',
      'partitions[0].quarantine: must be whole months or years, and at most 1000 years, not "0.5 months"',
    ],
    [
      '    retention: { hot: 5 }\n',
      'partitions[0].retention.hot: must be a duration such as "90 days", not a number',
    ],
    ['    retention: { cold: 5 years }\n', 'partitions[0].retention.hot: is missing'],
    [
      '    retention: { hot: 5 years, cold: 5 years }\n',
      'partitions[0].retention.cold: is the total age and must be longer than hot',
    ],
    [
      '    retention: { hot: 1 day, cold: 5 years, then: delete }\n',
      'partitions[0].retention: cold and "then: delete" exclude each other',
    ],
    [
      '    retention: { hot: 1 day, then: drop }\n',
      'partitions[0].retention.then: must be delete, not "drop"',
    ],
    ['    epoch: nanoseconds\n', 'partitions[0].epoch: must be seconds or milliseconds, not "nanoseconds"'],
    [
      '    storageParameters: { fillfactor: [1] }\n',
      'partitions[0].storageParameters.fillfactor: must be text, a number, true or false, not a list',
    ],
    [
      '  - { table: a, key: x, interval: day }\n',
      'partitions[1].table: public.a stands in partitions[0] already',
    ],
    [
      '  - { table: \'"public"."a"\', key: x, interval: day }\n',
      'partitions[1].table: public.a stands in partitions[0] already',
    ],
    [
      '  - { table: b, key: x, interval: 10, epoch: seconds }\n',
      'partitions[1].epoch: goes with a calendar interval, not with a number of ids',
    ],
    [
      '  - { table: b, key: x, interval: 10, retention: { hot: 1 day } }\n',
      'partitions[1].retention.hot: must be a number of ids, since the interval is one',
    ],
  ])('refuses the entry with %j', (more, message) => {
    expect(problems(entry(more))).toEqual([`dbops.yaml:5: ${message}`]);
  });

  it('tells where the syntax of YAML is broken', () => {
    expect(problems('partitions:\n  - table: "open\n')[0]).toMatch(
      /^dbops\.yaml:\d+:\d+: missing closing "quote/,
    );
    expect(problems('a: 1\n---\nb: 2\n')[0]).toContain('a second document begins here');
    expect(problems('state:\n\tschema: x\n')[0]).toMatch(/^dbops\.yaml:2:\d+: a tab indents/);
    expect(problems('log: {}\nlog: {}\n')).toEqual(['dbops.yaml:2:1: map keys must be unique']);
    expect(problems('state: { schema: !env NAME }\n')[0]).toContain('!env');
    expect(problems('connection: { host: *nowhere }\n')[0]).toContain('nowhere');
    expect(problems('connection: { port: ${P}, host: x }\n', { P: '1' })).toEqual([
      'dbops.yaml:1:22: a variable within { } or [ ] needs quotes: "${NAME}"',
    ]);
  });

  it('shares settings between entries through anchors', () => {
    const text = `partitions:
  - &base { table: a, key: at, interval: month }
  - { <<: *base, table: b }
`;
    const { settings } = parseFile(text, 'dbops.yaml', {});
    expect(settings.partitions?.map(({ table, key }) => `${table} ${key}`)).toEqual(['a at', 'b at']);
  });

  it('never shows what may be a password', () => {
    const secret = 'hunter2';
    const texts = [
      `connection: postgresql://me:${secret}@db/x\n`,
      `connection: { password: ${secret} }\n`,
      `connection: { port: ${secret} }\n`,
      `postgresql://me:${secret}@db/x\n`,
      `defaults: { premake: postgresql://me:${secret}@db/x }\n`,
      'connection:\n  port: ${PW}\n',
      'defaults:\n  premake: ${PW}\n',
    ];
    for (const text of texts) {
      const list = problems(text, { PW: secret });
      expect(list).toHaveLength(1);
      expect(list.join()).not.toContain(secret);
    }
  });
});

describe('variables in a file', () => {
  it('are filled from the environment, also where a number is wanted', () => {
    const text =
      'connection:\n  host: ${H}.example.net\n  port: ${P}\n  user: ${U}\nstate: { schema: "$${H}" }\n';
    const { settings } = parseFile(text, 'dbops.yaml', { H: 'db', P: '6543', U: '12' });
    expect(settings.connection).toEqual({ host: 'db.example.net', port: 6543, user: '12' });
    expect(settings.state?.schema).toBe('${H}');
  });

  it('are missed with their name, all of them, and once each', () => {
    expect(problems('connection: { host: "${A}", user: "${B}${C}" }\n', { C: '' })).toEqual([
      'dbops.yaml:1: connection.host: the environment variable A is not set',
      'dbops.yaml:1: connection.user: the environment variable B is not set',
    ]);
  });

  it('are no YAML: their text stays a value', () => {
    const { settings } = parseFile('connection: { host: "${H}" }\n', 'x', { H: 'a: [b' });
    expect(settings.connection?.host).toBe('a: [b');
  });
});

describe('the JSON Schema', () => {
  const schema = () => z.fromJSONSchema(jsonSchema());
  const example = fs.readFileSync(
    path.resolve(import.meta.dirname, '../../examples/ai-factory/dbops.yaml'),
    'utf8',
  );

  it('accepts the examples, which are valid files', () => {
    expect(problems(example)).toEqual([]);
    expect(problems(exampleConfiguration)).toEqual([]);
    expect(schema().safeParse(parse(example)).error).toBeUndefined();
    expect(schema().safeParse(parse(exampleConfiguration)).error).toBeUndefined();
  });

  it('refuses what the file check refuses', () => {
    for (const text of ['a: 1', 'partitions: [{ table: a }]', 'defaults: { premake: -1 }']) {
      expect(problems(text)).not.toEqual([]);
      expect(schema().safeParse(parse(text)).success).toBe(false);
    }
  });

  it('is whole: the example shows every key that it knows', () => {
    const shown = `${exampleConfiguration} url: sslrootcert:`;
    for (const name of keysOf(jsonSchema())) expect(shown).toContain(`${name}:`);
  });
});

function keysOf(schema: unknown): string[] {
  if (schema === null || typeof schema !== 'object') return [];
  const own = 'properties' in schema ? Object.keys(schema.properties as object) : [];
  return [...own, ...Object.values(schema).flatMap(keysOf)];
}

describe('where a value comes from', () => {
  let place: string;
  const file = (name: string, text: string) => {
    const full = path.join(place, name);
    fs.mkdirSync(path.dirname(full), { recursive: true });
    fs.writeFileSync(full, text);
    return full;
  };
  const load = (env: Environment = {}, flags: Parameters<typeof loadSettings>[0] = {}) =>
    loadSettings(flags, path.join(place, 'work'), { HOME: path.join(place, 'home'), ...env });
  const origin = (settings: Settings, name: string) => settings.origins.find((item) => item.path === name);
  const refusal = (promise: Promise<unknown>) =>
    promise.then(
      () => undefined,
      (error: unknown) => error as DbopsError,
    );

  beforeEach(() => {
    place = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-config-'));
    fs.mkdirSync(path.join(place, 'work'));
  });
  afterEach(() => fs.rmSync(place, { recursive: true, force: true }));

  it('goes by flag, DBOPS_*, DATABASE_URL, PG*, project, user, default', async () => {
    const url = (name: string) => `postgresql://${name}@db/x`;
    file('work/dbops.yaml', `connection: { url: ${url('project')} }\n`);
    file('home/.config/dbops/dbops.yaml', `connection: { url: ${url('user')} }\ndefaults: { premake: 9 }\n`);
    const urlFile = file('secret', `${url('file')}\nsecond line\n`);
    const all = {
      DBOPS_URL: url('dbops'),
      DBOPS_URL_FILE: urlFile,
      DATABASE_URL: url('database'),
      PGHOST: 'pg',
    };
    const expected: [Environment, string | undefined, string | undefined][] = [
      [all, 'dbops', undefined],
      [{ ...all, DBOPS_URL: '' }, 'file', undefined],
      [{ ...all, DBOPS_URL: '', DBOPS_URL_FILE: '' }, 'database', undefined],
      [{ PGHOST: 'pg' }, undefined, 'pg'],
      [{ PGHOST: '' }, 'project', undefined],
    ];
    for (const [env, user, host] of expected) {
      const { connection } = await load(env);
      expect(connection.url).toBe(user === undefined ? undefined : url(user));
      expect(connection.host).toBe(host);
    }
    expect((await load(all, { url: url('flag') })).connection.url).toBe(url('flag'));
    const settings = await load();
    expect(origin(settings, 'defaults.premake')).toMatchObject({ value: '9' });
    expect(origin(settings, 'defaults.premake')?.source).toMatch(/\(user file\)$/);
    expect(origin(settings, 'defaults.timezone')).toMatchObject({ value: 'UTC', source: 'default' });
    fs.rmSync(path.join(place, 'work/dbops.yaml'));
    expect((await load()).connection.url).toBe(url('user'));
  });

  it('takes the host of a nearer file, not the url of a farther one', async () => {
    file('work/dbops.yaml', 'connection: { host: near }\n');
    file('home/.config/dbops/dbops.yaml', 'connection: { url: postgresql://far/x, user: me }\n');
    const { connection } = await load();
    expect(connection).toMatchObject({ url: undefined, host: 'near', user: 'me' });
  });

  it('shows no port of the environment when a url decides', async () => {
    const settings = await load({ DATABASE_URL: 'postgresql://db/x', PGPORT: '99', PGUSER: 'me' });
    expect(settings.connection).toMatchObject({ port: undefined, user: undefined });
    expect(settings.origins.map((item) => item.path)).not.toContain('connection.port');
  });

  it('reads exactly one file when one is given, by flag before DBOPS_CONFIG', async () => {
    file('work/dbops.yaml', 'defaults: { premake: 1 }\n');
    file('work/other.yaml', 'defaults: { premake: 2 }\n');
    const third = file('third.yaml', 'defaults: { premake: 3 }\n');
    const premake = async (env: Environment, config?: string) =>
      origin(await load(env, { config }), 'defaults.premake')?.value;
    expect(await premake({})).toBe('1');
    expect(await premake({ DBOPS_CONFIG: '' })).toBe('1');
    expect(await premake({ DBOPS_CONFIG: third })).toBe('3');
    expect(await premake({ DBOPS_CONFIG: third }, 'other.yaml')).toBe('2');
  });

  it('refuses an empty --config or --url, which an unset variable gives', async () => {
    for (const flag of ['config', 'url']) {
      const error = await refusal(load({}, { [flag]: '' }));
      expect(error).toMatchObject({ code: 'usage', message: `--${flag} was given nothing` });
    }
  });

  it('refuses files that cannot be read, with the reason', async () => {
    expect(await refusal(load({ DBOPS_CONFIG: '/nowhere/dbops.yaml' }))).toMatchObject({
      code: 'config_not_found',
      message: 'cannot read the configuration file /nowhere/dbops.yaml',
      detail: 'there is no such file',
    });
    expect(await refusal(load({}, { config: place }))).toMatchObject({ detail: 'it is a directory' });
    expect(await refusal(load({ DBOPS_URL_FILE: '/nowhere/url' }))).toMatchObject({
      message: 'cannot read the file /nowhere/url that DBOPS_URL_FILE names',
      exitCode: 2,
    });
    // Where the flag decides, nothing else is looked at.
    await load({ DBOPS_URL_FILE: '/nowhere/url' }, { url: 'postgresql://db/x' });
  });

  it('refuses a file that this user may not read', async ({ skip }) => {
    skip(process.getuid?.() === 0, 'root may read everything');
    fs.chmodSync(file('work/dbops.yaml', 'defaults: {}\n'), 0o000);
    expect(await refusal(load())).toMatchObject({ detail: 'this user may not read it' });
  });

  it('ignores a relative or empty XDG_CONFIG_HOME, and a file where a folder should be', async () => {
    file('home/.config/dbops/dbops.yaml', 'defaults: { premake: 9 }\n');
    const own = path.dirname(path.dirname(file('xdg/dbops/dbops.yaml', 'defaults: { premake: 8 }\n')));
    const premake = async (home: string) =>
      origin(await load({ XDG_CONFIG_HOME: home }), 'defaults.premake')?.value;
    expect(await premake('')).toBe('9');
    expect(await premake('relative')).toBe('9');
    expect(await premake(own)).toBe('8');
    expect(await premake(path.join(own, 'dbops/dbops.yaml'))).toBe('6');
  });

  it('tells the errors of all files together', async () => {
    file('work/dbops.yaml', 'a: 1\n');
    file('home/.config/dbops/dbops.yaml', 'b: 2\n');
    const error = await refusal(load());
    expect(error?.message).toBe('2 configuration files have 2 errors');
    expect(error?.detail?.split('\n')).toHaveLength(2);
  });

  it('finds the password, beside its file where the path is relative', async () => {
    file('conf/dbops.yaml', 'connection: { passwordFile: pw }\n');
    file('conf/pw', 'from file\n');
    file('work/pw', 'wrong\n');
    const twin = file('twin', 'p w"\\\r\n');
    const config = path.join(place, 'conf/dbops.yaml');
    const password = async (env: Environment) => (await load(env, { config })).connection.password;
    expect(await password({})).toBe('from file');
    expect(await password({ PGPASSWORD: 'pg' })).toBe('pg');
    expect(await password({ PGPASSWORD: 'pg', DBOPS_PASSWORD_FILE: twin })).toBe('p w"\\');
    expect(await password({ DBOPS_PASSWORD: 'own', DBOPS_PASSWORD_FILE: twin })).toBe('own');
  });

  it('never shows a password', async () => {
    const settings = await load(
      { PGPASSWORD: 'hunter2' },
      { url: 'postgresql://me:p%40ss@db/x?password=hunter2' },
    );
    expect(settings.connection.password).toBe('hunter2');
    const shown = JSON.stringify(settings.origins);
    expect(shown).not.toMatch(/hunter2|p%40ss/);
    expect(origin(settings, 'connection.password')?.value).toBe('***');
  });

  it.each([
    [{ PGPORT: 'abc' }, '"abc" is not a port'],
    [{ PGCONNECT_TIMEOUT: 'soon' }, 'PGCONNECT_TIMEOUT is a number of seconds, not "soon"'],
    [{ DBOPS_LOG_FORMAT: 'xml' }, 'the log format is text or json, not "xml"'],
  ])('refuses %j', async (env, message) => {
    expect(await refusal(load(env as Environment))).toMatchObject({ code: 'usage', message });
  });

  it('is judged beyond its syntax', async () => {
    file(
      'work/dbops.yaml',
      entry(
        '    naming: "{table}_{yyyy}"\n    premake: 0\n    retention: { hot: 1 day }\n' +
          '  - { table: b, key: id, interval: 1000, naming: "b_{nr}", retention: { hot: 10 } }\n',
      ),
    );
    const { errors, warnings } = checkEntries(await load());
    const at = path.join(place, 'work/dbops.yaml');
    expect(errors).toEqual([
      `${at}:5: partitions[0].naming: {table}_{yyyy}: two partitions would get the same name; use {yyyy} {mm} (the default is {table}_y{yyyy}m{mm})`,
      expect.stringMatching(
        /:8: partitions\[1\]\.naming: b_\{nr\}: unknown token \{nr\}; known are/,
      ) as string,
    ]);
    expect(warnings).toHaveLength(3);
    expect(warnings[0]).toContain(':6: partitions[0].premake: public.a gets no partition ahead');
  });
});

describe('masking', () => {
  it.each([
    ['postgresql://me:secret@db/x', 'postgresql://me:***@db/x'],
    ['postgresql://me:se:c@r/e?t@db/x', 'postgresql://me:***@db/x'],
    ['postgresql://:secret@db/x', 'postgresql://:***@db/x'],
    [
      'postgresql://db:5432/x?password=se@cret&sslmode=require',
      'postgresql://db:5432/x?password=***&sslmode=require',
    ],
    ['postgresql://me@db/x', 'postgresql://me@db/x'],
    ['host=db password=secret', '***'],
  ])('turns %s into %s', (text, shown) => {
    expect(mask(text)).toBe(shown);
  });
});

describe('table names', () => {
  it.each([
    { schema: 'public', name: 'orders' },
    { schema: 'Sales', name: 'Order Lines' },
    { schema: 'a.b', name: 'c.d' },
    { schema: 'public', name: 'c.d' },
    { schema: '한국', name: '주문' },
    { schema: 'x', name: '"quoted"' },
    { schema: '"x"', name: 'a"b' },
    { schema: 'new\nline', name: 'semi;colon' },
    { schema: '.', name: '.' },
  ])('$schema and $name are read as they were written', (table) => {
    expect(splitTable(writeTable(table))).toEqual(table);
  });

  it('are plain where they can be', () => {
    expect(writeTable({ schema: 'public', name: 'orders' })).toBe('public.orders');
    expect(writeTable({ schema: 'Sales', name: 'Order Lines' })).toBe('Sales.Order Lines');
    expect(splitTable('orders')).toEqual({ schema: 'public', name: 'orders' });
  });
});
