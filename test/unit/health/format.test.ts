// Reports for monitoring and for CI.
import { expect, it } from 'vitest';
import { DbopsError } from '../../../src/errors.ts';
import type { Finding } from '../../../src/health/finding.ts';
import { toJunit } from '../../../src/health/format/junit.ts';
import { failureForNagios, toNagios } from '../../../src/health/format/nagios.ts';

const finding = (over: Partial<Finding>): Finding => ({
  check: 'connections.used',
  group: 'connections',
  object: null,
  severity: 'ok',
  message: '5 of 97 connections are taken',
  observed: null,
  unit: null,
  warn: null,
  crit: null,
  worse: null,
  countedSince: null,
  detail: null,
  advice: null,
  mend: null,
  ...over,
});

it('says the worst first, in one line, with performance data', () => {
  const measured = { observed: 81.25, unit: 'percent', warn: 80, crit: 90 } as const;
  expect(toNagios([finding({ ...measured, observed: 5 })])).toEqual({
    text: "DBOPS OK - 1 check | 'connections.used'=5%;80;90",
    exitCode: 0,
  });
  expect(
    toNagios([finding({ ...measured, observed: 97, crit: null, warn: 90, worse: 'below' })]).text,
  ).toContain("'connections.used'=97%;90:;");
  expect(
    toNagios([
      finding({
        ...measured,
        severity: 'warn',
        object: "a'b=c",
        message: 'x | y\nz',
        mend: 'dbops inspect locks',
      }),
      finding({ check: 'disk.data', severity: 'unknown', message: 'the server is elsewhere' }),
    ]),
  ).toEqual({
    text: [
      "DBOPS WARNING - 0 crit, 1 warn, 1 unknown, 0 ok | 'connections.used/a_b_c'=81.25%;80;90",
      "WARN connections.used a'b=c: x / y z (dbops inspect locks)",
      'UNKNOWN disk.data: the server is elsewhere',
    ].join('\n'),
    exitCode: 1,
  });
  expect(toNagios([finding({ severity: 'unknown' })]).exitCode).toBe(3);
  expect(toNagios([finding({ severity: 'crit' }), finding({ severity: 'unknown' })]).exitCode).toBe(2);
});

it('is unknown where nothing was looked at, and critical where nobody answers', () => {
  expect(toNagios([])).toEqual({ text: 'DBOPS UNKNOWN - 0 checks', exitCode: 3 });
  expect(failureForNagios(new DbopsError('connection_failed', 'cannot connect')).exitCode).toBe(2);
  expect(failureForNagios(new DbopsError('config_invalid', 'a | b'))).toEqual({
    text: 'DBOPS UNKNOWN - a / b',
    exitCode: 3,
  });
});

it('has a suite a group in JUnit, where what could not be read is an error', () => {
  expect(
    toJunit([
      finding({}),
      finding({ severity: 'warn', object: '<a&b>', message: '"x"', advice: 'mend\u0007', mend: 'vacuum;' }),
      finding({ check: 'disk.data', group: 'disk', severity: 'unknown', message: 'elsewhere' }),
      finding({ check: 'disk.wal', group: 'disk', severity: 'skipped', message: 'a standby' }),
    ]),
  ).toBe(`<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="dbops health" tests="4" failures="1" errors="1" skipped="1">
  <testsuite name="connections" tests="2" failures="1" errors="0" skipped="0">
    <testcase classname="dbops.connections" name="connections.used"/>
    <testcase classname="dbops.connections" name="connections.used &lt;a&amp;b&gt;">
      <failure type="warn" message="&quot;x&quot;">mend\ufffd
vacuum;</failure>
    </testcase>
  </testsuite>
  <testsuite name="disk" tests="2" failures="0" errors="1" skipped="1">
    <testcase classname="dbops.disk" name="disk.data">
      <error type="unknown" message="elsewhere"></error>
    </testcase>
    <testcase classname="dbops.disk" name="disk.wal">
      <skipped message="a standby"/>
    </testcase>
  </testsuite>
</testsuites>
`);
});
