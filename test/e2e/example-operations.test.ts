// The operations of the AI Factory example: its thresholds are those of the manuals, and its schedule can be handed over.
import { Command } from 'commander';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { commands } from '../../src/commands/index.ts';
import { loadSettings, type Settings } from '../../src/config/settings.ts';
import { chooseChecks } from '../../src/health/plan.ts';
import { openExampleShell, type ExampleShell } from '../support/examples.ts';

let shell: ExampleShell;
let settings: Settings;

beforeAll(async () => {
  shell = await openExampleShell();
  settings = await loadSettings({}, shell.dir, {});
});

const gigabyte = 1024 ** 3;

it('warns where the manuals warn', () => {
  const planned = new Map(
    chooseChecks(settings, { profile: 'weekly' }).map(({ check, bounds }) => [check.id, bounds]),
  );
  const bounds = (id: string) => planned.get(id)?.general;
  expect(bounds('connections.used')).toMatchObject({ warn: 80, crit: 90 });
  expect(bounds('cache.hit-share')).toMatchObject({ warn: 90, worse: 'below' });
  expect(bounds('vacuum.dead-rows')).toMatchObject({ warn: 20 });
  expect(bounds('disk.used')).toMatchObject({ warn: 70, crit: 85 });
  expect(planned.get('disk.used')?.objects).toMatchObject([{ pattern: 'pg_wal', thresholds: { crit: 80 } }]);
  expect(bounds('sizes.tables')).toMatchObject({ warn: 10 * gigabyte });
  expect(bounds('statements.slow')).toMatchObject({ warn: 1 });
  expect(bounds('backups.age')).toMatchObject({ crit: 2 });
  expect(bounds('outbox.dead-rows')).toMatchObject({ warn: 100_000 });
  expect(bounds('slo.judgments')).toMatchObject({ warn: 0.5 });
  expect(bounds('slo.reports')).toMatchObject({ warn: 2 });
  expect(bounds('slo.disk-reads')).toMatchObject({ warn: 10 });
});

it('health --profile daily asks all of it, and says of jobs that they never ran', async () => {
  const { code, stdout, stderr } = await shell.run('dbops health --profile daily --all --json');
  expect(code, stderr).toBe(6);
  const { data } = JSON.parse(stdout) as {
    data: { findings: { check: string; object: string | null; severity: string; observed: number | null }[] };
  };
  const of = (id: string) => data.findings.filter(({ check }) => check === id);
  for (const id of ['outbox.pending', 'outbox.oldest-pending', 'outbox.dead-rows'])
    expect(of(id)).toMatchObject([{ severity: expect.not.stringMatching('unknown') as string }]);
  const [pending] = await shell.database.query<{ pending: number }>(
    "select count(*)::int as pending from public.event_outbox where status = 'PENDING'",
  );
  expect(of('outbox.pending')[0]?.observed).toBe(pending?.pending);
  expect(of('jobs.late').map(({ object }) => object)).toEqual(settings.schedule.map(({ name }) => name));
  expect(of('jobs.late').every(({ severity }) => severity === 'warn')).toBe(true);
  expect(of('partitions.ensure-overdue')).not.toHaveLength(0);
});

it('the promises are unknown where the server does not count, and values where it does', async () => {
  const ask = async () => {
    const { stdout } = await shell.run(
      'dbops health --only slo.judgments,slo.reports,slo.disk-reads --all --json',
    );
    const { data } = JSON.parse(stdout) as { data: { findings: { check: string; severity: string }[] } };
    return data.findings.map(({ check, severity }) => `${check}: ${severity}`);
  };
  expect(await ask()).toEqual(['slo.judgments: unknown', 'slo.reports: unknown', 'slo.disk-reads: unknown']);
  // As the extension has it: this is about the queries of the example.
  await shell.database.query(`
    create view public.pg_stat_statements as
    select v.queryid::int8, v.mean_exec_time::float8, v.query, 10::int8 as calls
      from (values (1, 700, E'  select * from public.judgment_executions'), (2, 90, 'select from judgment_executions'),
                   (3, 9000, 'insert into judgment_executions select 1'), (4, 2500, 'with a as () select from fact_daily_defect'),
                   (5, 100, 'select artifact_id from x')) as v(queryid, mean_exec_time, query)`);
  expect(await ask()).toEqual([
    'slo.judgments: warn',
    'slo.judgments: ok',
    'slo.reports: warn',
    'slo.disk-reads: unknown',
  ]);
});

describe('the schedule', () => {
  it('is of commands and flags that there are', async () => {
    expect(settings.schedule.length).toBeGreaterThan(10);
    for (const { name, work } of settings.schedule) {
      if (work.kind === 'sql') continue;
      const { words } = work;
      const entry = commands.find(
        (item) =>
          (item.noun === null ? item.verb === words[0] : item.noun === words[0] && item.verb === words[1]) ||
          (item.noun === words[0] && item.isDefault === true && words[1]?.startsWith('-') === true),
      );
      expect(entry, `${name}: ${words.join(' ')}`).toBeDefined();
      const parser = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
      const { command } = await entry!.load();
      command.declare(parser);
      parser.allowExcessArguments(parser.registeredArguments.length > 0);
      const flags = words.slice(words.findIndex((word) => word.startsWith('-')));
      if (words.some((word) => word.startsWith('-')))
        expect(() => parser.parse(flags, { from: 'user' }), `${name}: ${flags.join(' ')}`).not.toThrow();
    }
  });

  it('can be handed to each of the four', async () => {
    const render = async (flags: string) => {
      const { code, stdout, stderr } = await shell.run(`dbops schedule render --format ${flags}`);
      expect(code, stderr).toBe(0);
      return stdout;
    };
    const names = settings.schedule.map(({ name }) => name);
    const crontab = await render('crontab');
    for (const name of names) expect(crontab).toContain(` schedule run ${name} `);
    expect(crontab).toMatch(/^0 3 \* \* \* .* schedule run daily-archive /m);
    const units = await render('systemd');
    for (const name of names) expect(units).toContain(`# /etc/systemd/system/dbops-${name}.timer\n`);
    const documents = parseAllDocuments(await render('k8s')).map((document) => document.toJS() as CronJob);
    expect(documents.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual(
      names.map((name) => `CronJob dbops-${name}`),
    );
    const sql = await render('pg_cron --database factory');
    expect(sql).toContain(
      "cron.schedule_in_database('dbops-weekly-analyze', '0 5 * * 0', 'analyze', 'factory');",
    );
    expect(sql.match(/^-- not possible here: /gm)).toHaveLength(names.length - 1);
  });
});

interface CronJob {
  kind: string;
  metadata: { name: string };
}
