// What holds for every check, whatever it asks.
import { describe, expect, it } from 'vitest';
import { defaultSettings } from '../../../src/config/settings.ts';
import { profiles } from '../../../src/health/check.ts';
import { builtIn } from '../../../src/health/checks/index.ts';
import { explain } from '../../../src/health/explain.ts';
import { chooseChecks, getCheck } from '../../../src/health/plan.ts';

describe('the table of checks', () => {
  it('has each name once', () => {
    const ids = builtIn.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

it('is refused to run no check at all', async () => {
  const settings = await defaultSettings({});
  expect(() => chooseChecks(settings, { only: ['locks'], skip: ['locks.waits'] })).toThrow(
    'no check is left to run',
  );
});

describe.each(builtIn.map((check) => [check.id, check] as const))('%s', (id, check) => {
  it('is named after its group and belongs to an occasion', () => {
    expect(id).toMatch(new RegExp(`^${check.group}\\.[a-z][a-z_-]*$`));
    expect(check.profiles.length).toBeGreaterThan(0);
    expect(profiles).toEqual(expect.arrayContaining([...check.profiles]));
  });

  it('says what it answers, why that matters and what to do', () => {
    expect(check.answers).toMatch(/^[a-z].*[^.]$/);
    for (const text of [check.why, check.advice]) expect(text).toMatch(/^[A-Z"].*\.$/s);
  });

  it('has thresholds in order, with their source', () => {
    const { thresholds, source } = check;
    if (thresholds === undefined) return;
    const { warn, crit, worse } = thresholds;
    if (crit !== null) expect(worse === 'above' ? crit >= warn : crit <= warn).toBe(true);
    expect(source).toBeTruthy();
  });

  it('can be explained without a server', async () => {
    const settings = await defaultSettings({});
    const explained = explain(settings, getCheck(settings, id));
    expect(explained.asks).not.toBe('');
    if (!('look' in check)) expect(explained.asks).toMatch(/^\/\* dbops:[\w-]+\.[\w.-]+ \*\//);
    expect(explained.judgedBy === 'yes or no').toBe(check.thresholds === undefined);
  });
});
