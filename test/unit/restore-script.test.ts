import { describe, expect, it } from 'vitest';
import { RestoreErrors } from '../../src/backup/restore/database/errors.ts';
import { chooseRestorePrograms } from '../../src/backup/restore/database/programs.ts';
import { databaseSetting, missingRoles, tablespacesIn } from '../../src/backup/restore/database/roles.ts';
import { aboutDatabase, nameBehind, statementsIn } from '../../src/backup/restore/database/script.ts';

describe('scripts of pg_dump', () => {
  it('are cut at the ends of statements alone', () => {
    const script = [
      '--',
      "-- Name: shop; Type: DATABASE; it's not a quote",
      String.raw`\restrict abc'd`,
      "SET a = 'x;y';  ALTER ROLE \"we;ird\" WITH PASSWORD 'a''b;c';",
      String.raw`COMMENT ON ROLE a IS E'back\'slash;\\';`,
      "CREATE FUNCTION f() AS $body$ it's; $1 $body$ LANGUAGE sql;",
      "COMMENT ON DATABASE shop IS 'two",
      "\\lines; of it';",
    ].join('\n');
    expect(statementsIn(script)).toEqual([
      "SET a = 'x;y'",
      "ALTER ROLE \"we;ird\" WITH PASSWORD 'a''b;c'",
      String.raw`COMMENT ON ROLE a IS E'back\'slash;\\'`,
      "CREATE FUNCTION f() AS $body$ it's; $1 $body$ LANGUAGE sql",
      "COMMENT ON DATABASE shop IS 'two\n\\lines; of it'",
    ]);
  });

  it.each([
    ['CREATE DATABASE shop WITH TEMPLATE = template0', 'CREATE DATABASE "x y" WITH TEMPLATE = template0'],
    ['ALTER DATABASE "a ""b" SET s TO \'DATABASE shop\'', 'ALTER DATABASE "x y" SET s TO \'DATABASE shop\''],
    ['ALTER ROLE "r r" IN DATABASE shop SET a TO 1', 'ALTER ROLE "r r" IN DATABASE "x y" SET a TO 1'],
    ['GRANT CONNECT, TEMPORARY ON DATABASE shop TO r', 'GRANT CONNECT, TEMPORARY ON DATABASE "x y" TO r'],
    ['REVOKE ALL ON DATABASE shop FROM PUBLIC', 'REVOKE ALL ON DATABASE "x y" FROM PUBLIC'],
    ["COMMENT ON DATABASE shop IS 'ON DATABASE shop'", 'COMMENT ON DATABASE "x y" IS \'ON DATABASE shop\''],
    ['SET statement_timeout = 0', undefined],
    ['GRANT SELECT ON TABLE database TO r', undefined],
  ])('%s', (statement, other) => {
    expect(aboutDatabase(statement, '"x y"')).toBe(other);
  });

  it('names what stands behind some words', () => {
    expect(nameBehind('CREATE ROLE "a ""b";', 'CREATE ROLE')).toBe('a "b');
    expect(nameBehind('CREATE ROLE plain', 'CREATE ROLE')).toBe('plain');
    expect(nameBehind('ALTER ROLE plain', 'CREATE ROLE')).toBeUndefined();
  });
});

describe('roles', () => {
  const globals = [
    'CREATE ROLE here;',
    'ALTER ROLE here WITH SUPERUSER;',
    'CREATE ROLE gone;',
    "ALTER ROLE gone WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x';",
    "ALTER ROLE gone SET work_mem TO '1MB';",
    "COMMENT ON ROLE gone IS 'was; here';",
    'GRANT here TO gone WITH ADMIN OPTION GRANTED BY postgres;',
    'GRANT pg_monitor TO here GRANTED BY "the boss";',
    "CREATE TABLESPACE fast OWNER here LOCATION '/fast';",
  ].join('\n');

  it('that are there are not spoken of', () => {
    expect(missingRoles(globals, ['here', 'postgres'])).toEqual({
      names: ['gone'],
      statements: [
        'CREATE ROLE gone',
        "ALTER ROLE gone WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x'",
        "ALTER ROLE gone SET work_mem TO '1MB'",
        "COMMENT ON ROLE gone IS 'was; here'",
        'GRANT here TO gone WITH ADMIN OPTION',
      ],
    });
    expect(missingRoles(globals, ['here', 'gone'])).toEqual({ names: [], statements: [] });
  });

  it('tablespaces are found in what a dump places', () => {
    expect(
      tablespacesIn(
        'SET default_tablespace = \'\';\nSET default_tablespace = fast;\nSET default_tablespace = "a b";',
      ),
    ).toEqual(['fast', 'a b']);
  });

  it.each([
    ['work_mem=8MB', `ALTER DATABASE d SET "work_mem" = '8MB'`],
    ['app.user=a=b', `ALTER DATABASE d SET "app"."user" = 'a=b'`],
    ['search_path=sales, "$user", public', `ALTER DATABASE d SET "search_path" = 'sales', '$user', 'public'`],
    ['search_path=""', `ALTER DATABASE d SET "search_path" = ''`],
    ['app.token=***', undefined],
  ])('%s', (setting, statement) => {
    expect(databaseSetting('d', setting)).toBe(statement);
  });
});

describe('errors of pg_restore', () => {
  it('are counted, and the first ones kept with their statement', () => {
    const errors = new RestoreErrors();
    for (let number = 1; number <= 7; number += 1) {
      for (const line of [
        'pg_restore: error: could not execute query: ERROR:  role "someone" does not exist',
        `Command was: ALTER TABLE t${String(number)} OWNER TO someone;`,
        '',
      ])
        errors.take(line);
    }
    expect(errors.isComplete).toBe(false);
    errors.take('pg_restore: warning: errors ignored on restore: 7');
    expect(errors).toMatchObject({ count: 7, isComplete: true });
    const lines = errors.describe().split('\n');
    expect(lines).toHaveLength(6);
    expect(lines[0]).toBe('ERROR:  role "someone" does not exist: ALTER TABLE t1 OWNER TO someone;');
    expect(lines[5]).toBe('and 2 more');
  });

  it('tell nothing of a statement that may hold a password', () => {
    const errors = new RestoreErrors();
    errors.take('pg_restore: error: could not execute query: ERROR:  server "far" does not exist');
    errors.take("Command was: CREATE USER MAPPING FOR a SERVER far OPTIONS (password 'sesame');");
    errors.take("    another_password 'sesame'");
    expect(errors.describe()).toBe('ERROR:  server "far" does not exist');
  });

  it('and of psql', () => {
    const errors = new RestoreErrors();
    errors.take('psql:/srv/schema.sql:17: ERROR:  relation "t" already exists');
    errors.take('psql:/srv/schema.sql:17: STATEMENT:  create table t ();');
    errors.take('psql:/srv/schema.sql:18: NOTICE:  ERROR: no');
    expect(errors.describe()).toBe('ERROR:  relation "t" already exists');
  });

  it('and of psql in the language of the server', () => {
    const errors = new RestoreErrors();
    errors.take('psql:/srv/schema.sql:16: WARNUNG:  nichts Schlimmes');
    errors.take('psql:/srv/schema.sql:17: FEHLER:  Relation „t“ existiert bereits');
    errors.take('ZEILE 1: create table t ();');
    errors.take('psql:/srv/schema.sql:17: STATEMENT:  create table t ();');
    expect(errors.count).toBe(1);
    expect(errors.describe()).toBe('FEHLER:  Relation „t“ existiert bereits');
  });
});

describe('programs', () => {
  const tool = (name: string, major: number) => ({
    name,
    path: `/${major}/${name}`,
    version: `${major}.1`,
    major,
  });
  const all = [15, 16, 17].flatMap((major) => [tool('pg_restore', major), tool('psql', major)]);
  const zstd = { ...tool('zstd', 1), path: '/zstd' };

  it.each([
    [15, 15, '/15/pg_restore', 0],
    [16, 15, '/16/pg_restore', 0],
    [15, 16, '/16/pg_restore', 1],
    [14, 14, '/15/pg_restore', 1],
  ])('for a server %d and a dump of %d', (server, dump, path, warnings) => {
    const chosen = chooseRestorePrograms([...all, zstd], server, dump);
    expect(chosen.pgRestore).toBe(path);
    expect(chosen.warnings).toHaveLength(warnings);
  });

  it('are named where they are missing', () => {
    expect(() => chooseRestorePrograms([...all, zstd], 18, 15)).toThrow(/pg_restore of PostgreSQL 18/);
    expect(() => chooseRestorePrograms(all, 15, 15)).toThrow(/zstd is not installed/);
    expect(() => chooseRestorePrograms([zstd, tool('pg_restore', 15)], 15, 15)).toThrow(/psql/);
  });
});
