import { expect, it, vi } from 'vitest';
import { placeOf } from '../../src/process/child.ts';
import { pickClientTools, type Tool } from '../../src/process/tools.ts';

const tool = (name: string, version: string | undefined, path = `/usr/bin/${name}`): Tool => ({
  name,
  path,
  version,
  major: version === undefined ? undefined : Number.parseInt(version, 10),
});

it("takes what is of the server's own major, and the newest psql", () => {
  const tools = [
    tool('pg_dump', '17.2'),
    tool('psql', '15.18'),
    tool('psql', '17.2', '/usr/lib/postgresql/17/bin/psql'),
    tool('pg_dump', '15.18', '/usr/lib/postgresql/15/bin/pg_dump'),
  ];
  const picked = pickClientTools(tools, 15, ['pg_dump', 'psql']);
  expect(picked.pg_dump.path).toBe('/usr/lib/postgresql/15/bin/pg_dump');
  expect(picked.psql.path).toBe('/usr/lib/postgresql/17/bin/psql');
});

it('refuses a newer or an older one, and says which are there and which package has it', () => {
  const tools = [tool('pg_dump', '17.2'), tool('pg_dump', undefined, '/opt/broken/pg_dump')];
  expect(() => pickClientTools(tools, 15, ['pg_dump'])).toThrow(
    expect.objectContaining({
      code: 'tool_failed',
      message: 'pg_dump of PostgreSQL 15 is not installed on this host',
      detail: '/usr/bin/pg_dump is of version 17.2',
      hint: expect.stringContaining('postgresql-client-15') as string,
    }) as Error,
  );
});

it('names the package of what works with every server', () => {
  expect(() => pickClientTools([], 15, ['zstd'])).toThrow('zstd is not installed on this host');
});

it('gives the keys of our stores to our own programs, and to none of another user', () => {
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'hunter2');
  vi.stubEnv('AWS_SESSION_TOKEN', 'hunter3');
  vi.stubEnv('AWS_REGION', 'eu-west-1');
  vi.stubEnv('PGBACKREST_REPO1_S3_KEY_SECRET', 'its own');
  try {
    const account = { name: 'other', uid: (process.getuid?.() ?? 0) + 1, gid: 1, home: '/' };
    expect(placeOf({}).env).toMatchObject({ AWS_SECRET_ACCESS_KEY: 'hunter2', AWS_SESSION_TOKEN: 'hunter3' });
    const { env } = placeOf({ account });
    expect(Object.values(env).join()).not.toContain('hunter');
    expect(env).toMatchObject({ AWS_REGION: 'eu-west-1', PGBACKREST_REPO1_S3_KEY_SECRET: 'its own' });
  } finally {
    vi.unstubAllEnvs();
  }
});
