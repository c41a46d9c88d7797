// Whose host and whose limits a figure is of: those of the process that serves a session, not those of its address.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { connect } from '../../../src/pg/connection.ts';
import { limitsOf } from '../../../src/process/control-group.ts';
import { isThisHost } from '../../../src/process/this-host.ts';
import { createDatabase } from '../../support/database.ts';

describe('a server', () => {
  it('is on this host where its process is, whatever its address says', async () => {
    const database = await createDatabase('this_host');
    const db = await connect({ url: database.url, connectTimeoutMs: 10_000, applicationName: 'test' });
    const { pid, database: name } = db.server;
    expect(await isThisHost(db.server, '127.0.0.1')).toBe(true);
    expect(await isThisHost(db.server, null)).toBe(true);
    expect(await isThisHost(db.server, '192.0.2.7')).toBe(false);
    // Through a tunnel, the server calls itself 127.0.0.1: its process is another one here, or none.
    expect(await isThisHost({ pid: process.pid, database: name }, '127.0.0.1')).toBe(false);
    expect(await isThisHost({ pid: 2 ** 22 + 1, database: name }, '127.0.0.1')).toBe(false);
    expect(await isThisHost({ pid, database: 'another' }, null)).toBe(false);
    await db.close();
    await database.drop();
  });
});

describe('the limits of control groups', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-groups-'));
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  const limits = async (groups: string, files: Record<string, string>) => {
    const root = fs.mkdtempSync(path.join(folder, 'x'));
    for (const [name, text] of Object.entries({ 'proc/7/cgroup': groups, ...files })) {
      fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
      fs.writeFileSync(path.join(root, name), text);
    }
    return await limitsOf(7, { processes: path.join(root, 'proc'), groups: path.join(root, 'sys') });
  };
  const gigabyte = 2 ** 30;

  it.each<[string, string, Record<string, string>, object]>([
    [
      'version 2, in a container',
      '0::/\n',
      { 'sys/memory.max': `${4 * gigabyte}\n`, 'sys/cpu.max': '150000 100000\n' },
      { memoryBytes: 4 * gigabyte, cpus: 1.5 },
    ],
    [
      'version 2, a unit below a slice that may take less',
      '0::/system.slice/postgresql.service\n',
      {
        'sys/system.slice/memory.max': `${2 * gigabyte}\n`,
        'sys/system.slice/postgresql.service/memory.max': `${8 * gigabyte}\n`,
        'sys/system.slice/postgresql.service/cpu.max': 'max 100000\n',
      },
      { memoryBytes: 2 * gigabyte },
    ],
    ['version 2, no limit', '0::/a\n', { 'sys/a/memory.max': 'max\n' }, {}],
    [
      'version 1',
      '12:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n1:name=systemd:/\n0::/\n',
      {
        'sys/memory/memory.limit_in_bytes': '9223372036854771712\n',
        'sys/memory/docker/x/memory.limit_in_bytes': `${gigabyte}\n`,
        'sys/cpu/docker/x/cpu.cfs_quota_us': '200000\n',
        'sys/cpu/docker/x/cpu.cfs_period_us': '100000\n',
        'sys/cpu/cpu.cfs_quota_us': '-1\n',
        'sys/cpu/cpu.cfs_period_us': '100000\n',
      },
      { memoryBytes: gigabyte, cpus: 2 },
    ],
    [
      'a path outside of our namespace',
      '0::/../../other\n',
      { 'sys/memory.max': `${gigabyte}\n` },
      { memoryBytes: gigabyte },
    ],
    ['nothing to read', '', {}, {}],
  ])('%s', async (_, groups, files, expected) => {
    expect(await limits(groups, files)).toEqual(expected);
  });

  it('of a process that is not there are none', async () => {
    expect(await limitsOf(2 ** 22 + 1)).toEqual({});
  });
});
