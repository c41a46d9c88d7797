// What a cron line means, what is refused, and when a job is due.
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCron, type CronTimes } from '../../../src/config/cron.ts';
import { parseFile } from '../../../src/config/load.ts';
import { DbopsError } from '../../../src/errors.ts';
import { latenessOf } from '../../../src/schedule/lateness.ts';
import { convertZone } from '../../../src/schedule/render/convert-zone.ts';
import { clockNotes, nextTimes } from '../../../src/schedule/times.ts';

function times(cron: string): CronTimes {
  const parsed = parseCron(cron);
  if (typeof parsed === 'string') throw new Error(parsed);
  return parsed;
}

const due = (cron: string, timezone: string, after: string, count = 3) =>
  nextTimes({ times: times(cron), timezone }, new Date(after), count).map((time) =>
    time.toISOString().slice(0, 16),
  );

describe('a cron line', () => {
  it.each([
    ['0 3 * * *', '0 3 * * *'],
    ['  0  3 * * MON-fri ', '0 3 * * 1-5'],
    ['*/20 0-6/3 1,15 jan,jul *', '0,20,40 0,3,6 1,15 1,7 *'],
    ['0 4 * * 7', '0 4 * * 0'],
    ['0 4 * * 5-7', '0 4 * * 0,5,6'],
    ['@daily', '0 0 * * *'],
    ['@Weekly', '0 0 * * 0'],
    ['0 0 29 2 *', '0 0 29 2 *'],
    // With a day of week it runs on that day.
    ['0 0 31 2 1', '0 0 31 2 1'],
  ])('%j is %s', (written, text) => {
    expect(times(written).text).toBe(text);
  });

  it.each([
    ['', /^is empty/],
    ['   ', /^is empty/],
    ['0 3 * *', /five fields .* not 4$/],
    ['0 0 3 * * *', /five fields .* not 6$/],
    ['60 3 * * *', /minute outside of 0 to 59: "60"/],
    ['0 24 * * *', /hour outside of 0 to 23/],
    ['0 3 0 * *', /day of month outside of 1 to 31/],
    ['0 3 * 13 *', /month outside of 1 to 12/],
    ['0 3 * * 8', /day of week outside of 0 to 7/],
    ['0 3 * * moon', /no day of week "moon"/],
    ['0 3 L * *', /no day of month "l"/],
    ['0 5-3 * * *', /runs backwards/],
    ['*/0 3 * * *', /step of 0/],
    ['*/90 * * * *', /minute that is longer than its range, so it would run at 0 alone: "\*\/90"/],
    ['0 */24 * * *', /hour that is longer/],
    ['5/15 3 * * *', /write 5-59\/15/],
    ['1,,2 3 * * *', /no minute ""/],
    ['1-2-3 3 * * *', /no minute "1-2-3"/],
    ['-1 3 * * *', /no minute "-1"/],
    ['@reboot', /knows no @reboot/],
    ['0 0 31 2 *', /never comes: day 31 of feb/],
    ['0 0 31 4,6,9,11 *', /never comes: day 31 of apr, jun, sep, nov/],
    ['0 0 */2 * 1', /some crons read as "and"/],
  ])('%j is refused', (written, problem) => {
    expect(parseCron(written)).toMatch(problem);
  });
});

describe('when a job is due', () => {
  it('a day of month and a day of week together mean either', () => {
    expect(due('0 3 13 * 5', 'UTC', '2027-01-01T12:00:00Z')).toEqual([
      '2027-01-08T03:00',
      '2027-01-13T03:00',
      '2027-01-15T03:00',
    ]);
  });

  it('is counted in its zone, and a time that is not there comes an hour later', () => {
    expect(due('0 3 * * *', 'Asia/Seoul', '2026-11-21T12:00:00Z', 1)).toEqual(['2026-11-21T18:00']);
    expect(due('30 2 * * *', 'Europe/Berlin', '2027-03-27T12:00:00Z', 2)).toEqual([
      '2027-03-28T01:30',
      '2027-03-29T00:30',
    ]);
  });

  it('says which days have no such time, or have it twice', () => {
    const notes = (cron: string, timezone: string) =>
      clockNotes({ times: times(cron), timezone }, new Date('2026-11-21T12:00:00Z'));
    expect(notes('30 2 * * *', 'Europe/Berlin')).toEqual([
      expect.stringContaining('2027-03-28 has no 02:30 in Europe/Berlin'),
      expect.stringContaining('2027-10-31 has 02:30 twice in Europe/Berlin'),
    ]);
    expect(notes('30 2 * * 1', 'Europe/Berlin')).toEqual([]);
    expect(notes('30 3 * * *', 'Europe/Berlin')).toEqual([]);
    expect(notes('30 * * * *', 'Europe/Berlin')).toEqual([]);
    expect(notes('30 2 * * *', 'Asia/Seoul')).toEqual([]);
    // Its clocks are changed by half an hour.
    expect(notes('15 2 * * *', 'Australia/Lord_Howe')[0]).toContain('has no 02:15');
  });
});

describe('the zone of a scheduler that knows one only', () => {
  const now = new Date('2026-11-21T12:00:00Z');
  const convert = (cron: string, from: string, to: string) =>
    convertZone({ times: times(cron), timezone: from }, to, now);

  it.each([
    ['0 3 * * *', 'Asia/Seoul', 'UTC', '0 18 * * *'],
    ['0 3 * * sun', 'Asia/Seoul', 'UTC', '0 18 * * 6'],
    ['0 12 1 * *', 'Asia/Seoul', 'UTC', '0 3 1 * *'],
    ['*/10 * * * *', 'Asia/Seoul', 'UTC', '0,10,20,30,40,50 * * * *'],
    ['0 0,12 * * *', 'Asia/Kolkata', 'UTC', '30 6,18 * * *'],
    ['0 3 * * *', 'Europe/Berlin', 'Europe/Berlin', '0 3 * * *'],
  ])('%s of %s is in %s %s', (cron, from, to, converted) => {
    expect(convert(cron, from, to)).toEqual({ cron: converted });
  });

  it.each([
    ['0 2 1 * *', 'Asia/Seoul', /no single cron line/],
    ['0 8,10 * * 1', 'Asia/Seoul', /no single cron line/],
    ['0 3 * * *', 'Europe/Berlin', /clocks of Europe\/Berlin are changed/],
  ])('%s of %s has none in UTC', (cron, from, problem) => {
    expect(convert(cron, from, 'UTC')).toEqual({ problem: expect.stringMatching(problem) as string });
  });
});

describe('a job that is late', () => {
  const job = { times: times('0 3 * * *'), timezone: 'UTC' };
  const run = (more: object) => ({
    name: 'nightly',
    firstAt: new Date('2026-11-01T03:00:01Z'),
    lastAt: new Date('2026-11-20T03:00:01Z'),
    lastOutcome: 'done',
    lastMessage: null,
    succeededAt: new Date('2026-11-20T03:00:01Z'),
    ...more,
  });
  const late = (more: object, now: string) => latenessOf(job, run(more), new Date(now)).lateSeconds;

  it.each([
    ['just before the next one', {}, '2026-11-21T02:59:00Z', 0],
    ['half an hour after it', {}, '2026-11-21T03:30:00Z', 1800],
    ['days later', {}, '2026-11-23T03:00:00Z', 2 * 86_400],
    [
      'a start a little too early is that run',
      { succeededAt: new Date('2026-11-21T02:59:58Z') },
      '2026-11-21T04:00:00Z',
      0,
    ],
    [
      'it runs',
      { lastOutcome: 'running', lastAt: new Date('2026-11-21T03:00:00Z') },
      '2026-11-21T09:00:00Z',
      0,
    ],
    [
      'it runs for a day',
      { lastOutcome: 'running', lastAt: new Date('2026-11-20T03:00:00Z') },
      '2026-11-21T04:00:00Z',
      3600,
    ],
    ['no run ever ended well', { succeededAt: null, lastOutcome: 'failed' }, '2026-11-01T04:00:01Z', 3600],
  ])('%s', (_, more, now, seconds) => {
    expect(late(more, now)).toBe(seconds);
  });
});

describe('jobs of the configuration', () => {
  const problems = (...jobs: string[]) =>
    messages(['schedule:', ...jobs.map((job) => `  - { ${job} }`)].join('\n'));
  const messages = (text: string) => {
    try {
      parseFile(text, 'dbops.yaml', {});
      return [];
    } catch (error) {
      if (!(error instanceof DbopsError)) throw error;
      return (error.detail ?? '').split('\n');
    }
  };
  const nightly = "name: nightly, cron: '0 3 * * *', run: partition ensure";

  it('are well', () => {
    expect(problems(nightly, "name: b, cron: '@daily', sql: \"select ';'; -- ; x\"")).toEqual([]);
  });

  it.each([
    [
      "name: a, cron: '0 3 * *', run: health",
      '[0].cron: must have five fields (minute, hour, day of month, month, day of week), not 4',
    ],
    ["name: a, cron: '', run: health", '[0].cron: is empty; write five fields, such as "0 3 * * *"'],
    ["name: a, cron: '0 0 31 2 *', run: health", '[0].cron: names a day that never comes: day 31 of feb'],
    [
      `${nightly}, timezone: Asia/Soul`,
      '[0].timezone: must be a time zone name such as Asia/Seoul, Europe/Berlin or UTC, not "Asia/Soul"',
    ],
    ["name: a, cron: '@daily'", '[0]: must say what is run: either run or sql'],
    ["name: a, cron: '@daily', run: health, sql: select 1", '[0]: must say what is run: either run or sql'],
    [
      "name: a, cron: '@daily', sql: select 1; select 2",
      '[0].sql: must be one statement; make a job of each',
    ],
    ["name: a, cron: '@daily', run: dbops health", '[0].run: goes without the word dbops'],
    ["name: a, cron: '@daily', run: schedule run a", '[0].run: must not be a schedule itself'],
    ["name: a, cron: '@daily', run: \"health 'a\"", '[0].run: has a quote that is not closed'],
    [
      "name: a, cron: '@daily', run: health | mail",
      '[0].run: is no shell line: "|" would be an argument of the command',
    ],
    [`${nightly}, timeLimit: 10 ms`, '[0].timeLimit: must be at least 1 s'],
    [
      `${nightly}, notify: { webhook: 'hooks/secret' }`,
      '[0].notify.webhook: must be a URL that begins with https:// or http://',
    ],
    [
      "name: My Job, cron: '@daily', run: health",
      '[0].name: must be a name in lower case with digits and hyphens, such as nightly-vacuum, not "My Job"',
    ],
  ])('{ %s } is refused', (job, problem) => {
    expect(problems(job)).toEqual([`dbops.yaml:2: schedule${problem}`]);
  });

  it('are told with all that is wrong beside them, at once', () => {
    const text = `
partitions: [{ table: a, key: at, interval: dya }]
schedule:
  - { name: a, cron: '0 3 * *', run: health, timezone: Asia/Soul }
  - { name: a, cron: '', run: dbops health, bogus: 1 }
  - nothing
  - { name: b, cron: '0 3 * * *', run: '\${NOT_SET}' }
`;
    expect(messages(text)).toEqual([
      expect.stringContaining('dbops.yaml:2: partitions[0].interval: must be') as string,
      expect.stringContaining('dbops.yaml:4: schedule[0].cron: must have five fields') as string,
      expect.stringContaining('dbops.yaml:4: schedule[0].timezone: must be a time zone') as string,
      'dbops.yaml:5: schedule[1].name: "a" stands in schedule[0] already',
      'dbops.yaml:5: schedule[1].cron: is empty; write five fields, such as "0 3 * * *"',
      'dbops.yaml:5: schedule[1].run: goes without the word dbops',
      expect.stringContaining('dbops.yaml:5: schedule[1].bogus: unknown key') as string,
      'dbops.yaml:6: schedule[2]: must be a mapping, not "nothing"',
      'dbops.yaml:7: schedule[3].run: the environment variable NOT_SET is not set',
    ]);
    for (const odd of ['', 'schedule: 3', 'schedule: { a: 1 }', 'schedule: [~]'])
      expect(messages(odd).length).toBe(odd === '' ? 0 : 1);
  });

  it('have names of their own', () => {
    expect(problems(nightly, nightly)).toEqual([
      'dbops.yaml:3: schedule[1].name: "nightly" stands in schedule[0] already',
    ]);
  });

  it('of the handbook are valid', () => {
    const handbook = fs.readFileSync(
      path.resolve(import.meta.dirname, '../../../docs/scheduling.md'),
      'utf8',
    );
    const [, example = ''] = /```yaml\n([^]*?)```/.exec(handbook) ?? [];
    const url = 'https://example.com/x';
    const { settings } = parseFile(example, 'dbops.yaml', { CHAT_WEBHOOK: url, ARCHIVE_CHECK: url });
    expect(settings.schedule?.length).toBeGreaterThan(5);
  });
});
