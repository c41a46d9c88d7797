import { describe, expect, it } from 'vitest';
import { checkHost } from '../../src/doctor/host.ts';
import { judgeClock } from '../../src/doctor/server.ts';
import { findTools } from '../../src/process/tools.ts';

describe('the clock', () => {
  it.each([
    [0, 0, 10, 'ok'],
    [0, 2500, 10, 'warn'],
    [0, -2500, 10, 'warn'],
    // A slow answer says less: the difference may be the way.
    [0, 4000, 5000, 'ok'],
    [0, 9000, 5000, 'warn'],
  ])('asked at %i, %i on the server, answered at %i: %s', (before, server, after, status) => {
    expect(judgeClock(before, server, after).status).toBe(status);
  });

  it('says which is ahead', () => {
    expect(judgeClock(0, 60_000, 0).text).toBe(
      "the server's clock is 60.0 s ahead of this host (give or take 0.0 s)",
    );
    expect(judgeClock(0, -60_000, 0).text).toContain('60.0 s behind this host');
  });
});

describe('the host', () => {
  const tool = (name: string, version: string | undefined) => ({
    name,
    path: `/x/${name}`,
    version,
    major: version === undefined ? undefined : Number.parseInt(version, 10),
  });
  const files = { files: [] };

  it('needs client tools of the major of the server', () => {
    const tools = [
      tool('pg_dump', '15.2'),
      tool('pg_dump', '17.1'),
      tool('psql', '15.2'),
      tool('zstd', undefined),
    ];
    const byName = new Map(checkHost(files, 'v20.19.0', tools, 17).map((item) => [item.check, item]));
    expect(byName.get('host.pg_dump')).toEqual({
      check: 'host.pg_dump',
      status: 'ok',
      text: 'pg_dump 15.2 (/x/pg_dump), 17.1 (/x/pg_dump)',
    });
    expect(byName.get('host.psql')).toMatchObject({
      status: 'warn',
      text: 'psql 15.2 (/x/psql) is older than the server (17)',
    });
    expect(byName.get('host.psql')?.hint).toContain('apt-get install postgresql-client-17');
    expect(byName.get('host.pg_basebackup')).toMatchObject({ status: 'warn' });
    expect(byName.get('host.zstd')).toMatchObject({ status: 'unknown' });
    expect(byName.get('host.config')).toMatchObject({ status: 'warn' });
  });

  it.each([
    ['v20.19.0', 'ok'],
    ['v20.18.9', 'crit'],
    ['v18.20.0', 'crit'],
    ['v24.0.0', 'ok'],
  ])('Node %s is %s', (version, status) => {
    expect(checkHost(files, version, [], undefined)[0]?.status).toBe(status);
  });
});

describe('tools', () => {
  it('are found on the path and asked for their version', async () => {
    const node = process.execPath.slice(0, process.execPath.lastIndexOf('/'));
    const found = await findTools(['node', 'no-such-tool'], `${node}::/nowhere`);
    expect(found.map((item) => item.name)).toEqual(['node']);
    expect(found[0]).toMatchObject({
      version: process.versions.node,
      major: Number.parseInt(process.versions.node, 10),
    });
  });
});
