import { describe, expect, it } from 'vitest';
import { judgeArchiving, judgeBackupTools, judgeCopies } from '../../src/doctor/backups.ts';
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

describe('backups', () => {
  const tool = (name: string, major: number) => ({ name, path: `/x/${name}`, version: `${major}.1`, major });
  const all = (major: number) => [
    ...['pg_dump', 'pg_dumpall', 'pg_restore', 'pg_basebackup', 'pg_verifybackup', 'postgres', 'initdb'].map(
      (name) => tool(name, major),
    ),
    tool('pg_waldump', major),
    tool('zstd', 1),
    tool('tar', 1),
  ];

  it("are made by programs of the server's own major: a newer one does not help", () => {
    expect(judgeBackupTools(all(15), 15, false).map((item) => item.status)).toEqual(['ok', 'ok', 'ok']);
    const [dumps, cluster, recovery] = judgeBackupTools(all(16), 15, false);
    expect(dumps).toMatchObject({
      status: 'warn',
      text: 'pg_dump, pg_dumpall, pg_restore of PostgreSQL 15 not found: no dumps on this host',
    });
    expect(cluster?.hint).toContain('apt-get install postgresql-client-15');
    expect(recovery?.hint).toContain('apt-get install postgresql-15');
  });

  it('need zstd and tar of any version, and pgBackRest where it is configured', () => {
    const without = all(15).filter(({ name }) => name !== 'tar');
    expect(judgeBackupTools(without, 15, true).filter((item) => item.status === 'crit')).toMatchObject([
      { check: 'backup.compressor', hint: 'apt-get install tar' },
      { check: 'backup.pgbackrest' },
    ]);
  });

  it('want more than one copy', () => {
    expect(judgeCopies([], 0).status).toBe('crit');
    expect(judgeCopies(['near'], 1).status).toBe('warn');
    expect(judgeCopies(['near', 'far'], 2)).toMatchObject({ status: 'ok' });
  });

  const ours = {
    archiveMode: 'on',
    archiveCommand: '"/usr/bin/node" "/x/dbops.js" wal push "%p" && exit 0; exit 1',
    archiveLibrary: '',
    archiveTimeoutSeconds: 60,
  };
  const at = (second: number) => new Date(second * 1000);
  const archiver = { lastArchived: 'a', lastArchivedAt: at(2), lastFailed: 'b', lastFailedAt: at(1) };

  it.each([
    ['ours', {}, {}, false, 'ok', 'archived by dbops'],
    ['off', { archiveMode: 'off' }, {}, false, 'warn', 'archive_mode is off'],
    ['another', { archiveCommand: 'cp %p /x/%f' }, {}, false, 'warn', 'is not that of dbops'],
    ['unreadable', { archiveCommand: '' }, {}, false, 'warn', 'may not be read'],
    ['a library', { archiveLibrary: 'basic_archive' }, {}, false, 'warn', 'takes the place of'],
    ['slow', { archiveTimeoutSeconds: 0 }, {}, false, 'warn', 'archive_timeout is 0'],
    ['failing', {}, { lastFailedAt: at(3) }, false, 'crit', 'b could not be archived at 1970-01-01T00:00:03'],
    ['never', {}, { lastArchivedAt: null }, false, 'crit', 'could not be archived'],
    ['pgBackRest', { archiveCommand: 'pgbackrest archive-push %p' }, {}, true, 'ok', 'by pgBackRest'],
    [
      'pgBackRest, unasked',
      { archiveCommand: 'pgbackrest archive-push %p' },
      {},
      false,
      'warn',
      'is not that',
    ],
  ] as const)('WAL: %s', (_, server, said, isPgbackrest, status, words) => {
    const judged = judgeArchiving({ ...ours, ...server }, { ...archiver, ...said }, isPgbackrest);
    expect(judged).toMatchObject({ check: 'wal.archive', status });
    expect(judged.text).toContain(words);
  });
});
