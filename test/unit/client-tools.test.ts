import { expect, it } from 'vitest';
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
