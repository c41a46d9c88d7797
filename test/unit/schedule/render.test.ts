// What schedulers are given.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { parseCron } from '../../../src/config/cron.ts';
import type { ScheduledJob } from '../../../src/config/schedule.ts';
import {
  crontabDifference,
  renderCrontab,
  withBlock,
  withoutBlock,
} from '../../../src/schedule/render/crontab.ts';
import { renderKubernetes } from '../../../src/schedule/render/kubernetes.ts';
import { renderPgCron } from '../../../src/schedule/render/pg-cron.ts';
import { renderSchedule } from '../../../src/schedule/render/render.ts';
import { calendarLines, renderSystemd } from '../../../src/schedule/render/systemd.ts';

const now = new Date('2026-11-21T12:00:00Z');
const host = {
  node: '/usr/bin/node',
  entry: '/opt/db ops/dbops.js',
  path: '/usr/bin:/bin',
  cwd: '/srv/100%',
  user: 'ops',
  timezone: 'UTC',
  config: '/etc/dbops/dbops.yaml',
};

function job(
  name: string,
  cron: string,
  work: ScheduledJob['work'],
  more: Partial<ScheduledJob> = {},
): ScheduledJob {
  const times = parseCron(cron);
  if (typeof times === 'string') throw new Error(times);
  const none = { timeLimitMs: undefined, webhook: undefined, healthcheck: undefined };
  return { name, cron, times, timezone: 'Asia/Seoul', work, ...none, ...more };
}

const command = (...words: string[]) => ({ kind: 'command', words }) as const;
const ensure = job('ensure', '0 3 * * *', command('partition', 'ensure'));
const monthly = job('monthly', '0 2 1 * sun', command('backup', 'drill'), { timeLimitMs: 3_600_000 });
const line =
  "cd /srv/100\\% && PATH=/usr/bin:/bin /usr/bin/node '/opt/db ops/dbops.js' schedule run ensure --quiet --config /etc/dbops/dbops.yaml";

describe('a crontab', () => {
  it('has times of the host where cron knows no other, and what is special to cron and shells escaped', () => {
    expect(renderCrontab([ensure], host, 'vixie', now).split('\n')).toEqual([
      expect.stringMatching(/^# BEGIN dbops schedule/),
      '# ensure: 0 3 * * * Asia/Seoul: dbops partition ensure',
      `0 18 * * * ${line}`,
      '# END dbops schedule',
      '',
    ]);
  });

  it('names the zone where cron knows it', () => {
    const text = renderCrontab([ensure], host, 'cronie', now);
    expect(text).toContain(`\nCRON_TZ=Asia/Seoul\n0 3 * * * ${line}\n`);
  });

  it('is refused where jobs would run at the wrong time, with all of them at once', () => {
    const berlin = { ...ensure, name: 'berlin', timezone: 'Europe/Berlin' };
    expect(() => renderCrontab([ensure, monthly, berlin], host, 'vixie', now)).toThrow(
      expect.objectContaining({
        code: 'refused',
        message: '2 jobs cannot be written for a cron that works in UTC',
        detail: expect.stringMatching(/^job "monthly": its times .*\njob "berlin": the clocks/) as string,
      }),
    );
  });

  it('keeps the lines of others as they are', () => {
    const block = renderCrontab([ensure], host, 'vixie', now);
    for (const others of ['', 'MAILTO=me\n0 1 * * * mine # 100\\%\n\n', '0 1 * * * without end']) {
      const added = withBlock(others, block);
      expect(added.endsWith(block)).toBe(true);
      expect(withBlock(added, block)).toBe(added);
      expect(withoutBlock(added).trimEnd()).toBe(others.trimEnd());
    }
    expect(withoutBlock(`a\n${block}b\n`)).toBe('a\nb\n');
    expect(crontabDifference('a\n', `a\n${block}`)).toHaveLength(4);
    expect(() => withBlock(`${block}${block}`, block)).toThrow(/markers/);
    expect(() => withoutBlock('# END dbops schedule\n')).toThrow(/markers/);
  });
});

describe('systemd', () => {
  it('has a service and a timer for each job', () => {
    const [service, timer] = renderSystemd([ensure], host);
    expect(service?.path).toBe('/etc/systemd/system/dbops-ensure.service');
    expect(service?.content).toContain('\nUser=ops\nWorkingDirectory=/srv/100%%\n');
    expect(service?.content).toContain(
      '\nExecStart=/usr/bin/node "/opt/db ops/dbops.js" schedule run ensure --quiet --config /etc/dbops/dbops.yaml\n',
    );
    expect(timer?.content).toContain('\nOnCalendar=*-*-* 03:00:00 Asia/Seoul\n');
    expect(timer?.content).toContain('\nPersistent=true\n');
  });

  const lines: [string, string[]][] = [
    ['0 3 * * *', ['*-*-* 03:00:00 Asia/Seoul']],
    ['*/30 * * * mon-fri', ['Mon,Tue,Wed,Thu,Fri *-*-* *:00,30:00 Asia/Seoul']],
    ['5 4 1 1,7 *', ['*-01,07-01 04:05:00 Asia/Seoul']],
    ['0 2 1 * sun', ['*-*-01 02:00:00 Asia/Seoul', 'Sun *-*-* 02:00:00 Asia/Seoul']],
  ];
  it.each(lines)('%s', (cron, expected) => {
    const made = calendarLines(job('x', cron, command('health')).times, 'Asia/Seoul');
    expect(made).toEqual(expected);
    const read = spawnSync('systemd-analyze', ['calendar', ...made], { encoding: 'utf8' });
    // Where systemd is, it must understand them.
    if (read.error === undefined) expect(read.stderr).toBe('');
  });
});

describe('units with all that is special to systemd', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-units-'));
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  it('are taken by it as they were meant', () => {
    const odd = {
      ...host,
      node: process.execPath,
      entry: '/opt/d$b "ops" 100%/d.js',
      path: '/usr/bin:/a b$c',
      cwd: folder,
      user: 'root',
    };
    const files = renderSystemd(
      [ensure, monthly, job('sql', '@daily', { kind: 'sql', sql: 'select 1 \\' })],
      odd,
    );
    for (const file of files) fs.writeFileSync(path.join(folder, path.basename(file.path)), file.content);
    expect(files[0]?.content).toContain('\nEnvironment="PATH=/usr/bin:/a b$c"\n');
    expect(files[4]?.content).toContain('\nDescription=dbops sql: select 1 \nWants=');
    expect(files[0]?.content).toContain(' "/opt/d$$b \\"ops\\" 100%%/d.js" schedule run ensure ');
    const units = files.map((file) => path.join(folder, path.basename(file.path)));
    const read = spawnSync('systemd-analyze', ['verify', '--man=no', ...units], { encoding: 'utf8' });
    // Where systemd is, it must have nothing to say of them.
    if (read.error === undefined)
      expect(read.stderr.split('\n').filter((text) => text.includes('dbops-'))).toEqual([]);
  });
});

describe('Kubernetes', () => {
  it('has a CronJob for each job', () => {
    const documents = parseAllDocuments(renderKubernetes([ensure, monthly], { image: 'dbops:1' }));
    expect(documents).toHaveLength(2);
    const [, second] = documents.map((document) => document.toJS() as CronJob);
    expect(second).toMatchObject({
      kind: 'CronJob',
      metadata: { name: 'dbops-monthly' },
      spec: { schedule: '0 2 1 * 0', timeZone: 'Asia/Seoul', concurrencyPolicy: 'Forbid' },
    });
    expect(second?.spec.jobTemplate.spec).toMatchObject({ backoffLimit: 0, activeDeadlineSeconds: 3660 });
    expect(second?.spec.jobTemplate.spec.template.spec.containers[0]).toMatchObject({
      image: 'dbops:1',
      args: ['schedule', 'run', 'monthly', '--quiet', '--config', '/etc/dbops/dbops.yaml'],
    });
  });

  it('takes what is written as text', () => {
    const text = renderKubernetes([ensure], { image: 'a: "b"' });
    expect((parse(text) as CronJob).spec.jobTemplate.spec.template.spec.containers[0]?.image).toBe('a: "b"');
  });
});

interface CronJob {
  spec: { jobTemplate: { spec: { template: { spec: { containers: { image: string }[] } } } } };
}

describe('what nobody can be told', () => {
  const told = { cron: 'vixie', image: 'dbops:1', database: 'f', pgCronTimezone: 'UTC', now } as const;

  it.each([
    ['k8s', { image: '' }, /--image is the name of an image, not ""/],
    ['k8s', { image: 'a b' }, /--image/],
    ['pg_cron', { pgCronTimezone: 'Mars/Phobos' }, /--pg-cron-timezone .* not "Mars\/Phobos"/],
    ['pg_cron', { pgCronTimezone: 'UTC\ndrop' }, /not "UTC\\ndrop"/],
    ['pg_cron', { database: undefined }, /in which database its jobs run/],
    ['pg_cron', { database: '' }, /in which database its jobs run/],
  ] as const)('%s of %j is refused', (format, more, message) => {
    expect(() => renderSchedule(format, [ensure], host, { ...told, ...more })).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringMatching(message) as string }),
    );
  });
});

describe('pg_cron', () => {
  it('gets statements and names quoted, whatever is in them', () => {
    const sql = `update public."o'x" set a = E'\\\\' -- $$ :name\n where b = 'c'`;
    const { text } = renderPgCron([job('odd', '@daily', { kind: 'sql', sql }, { timezone: 'UTC' })], {
      database: "o'brien",
      zone: 'UTC',
      now,
    });
    expect(text).toContain(
      `select cron.schedule_in_database('dbops-odd', '0 0 * * *',  E'${sql.replaceAll("'", "''").replaceAll('\\', '\\\\')}', 'o''brien');`,
    );
  });

  it('gets the jobs that are plain SQL, and says why not the others', () => {
    const jobs = [
      ensure,
      job('analyze', '0 3 * * *', { kind: 'sql', sql: "analyze public.cases where 'x'" }),
      job('vacuum', '0 4 * * *', command('maintenance', 'vacuum', '--table', 'public.event_outbox')),
      job('vacuum-all', '0 4 * * *', command('maintenance', 'vacuum')),
      job('berlin', '0 4 * * *', { kind: 'sql', sql: 'select 1' }, { timezone: 'Europe/Berlin' }),
    ];
    const { text, impossible } = renderPgCron(jobs, { database: 'factory', zone: 'UTC', now });
    expect(text.split('\n').filter((row) => row.startsWith('select'))).toEqual([
      "select cron.schedule_in_database('dbops-analyze', '0 18 * * *', 'analyze public.cases where ''x''', 'factory');",
      "select cron.schedule_in_database('dbops-vacuum', '0 19 * * *', 'vacuum (analyze) public.event_outbox', 'factory');",
    ]);
    expect(impossible.map((item) => item.job)).toEqual(['ensure', 'vacuum-all', 'berlin']);
    expect(text).toContain('-- not possible here: berlin: the clocks of Europe/Berlin are changed');
  });
});
