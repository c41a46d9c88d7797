// Health checks without the process of a command, and the roles that they are asked as.
import { randomBytes } from 'node:crypto';
import { onTestFinished } from 'vitest';
import { storesOf } from '../../src/commands/stores.ts';
import type { WrittenThresholds } from '../../src/config/health.ts';
import { defaultSettings, loadSettings, type Settings } from '../../src/config/settings.ts';
import type { Finding } from '../../src/health/finding.ts';
import { chooseChecks } from '../../src/health/plan.ts';
import { runChecks } from '../../src/health/run.ts';
import { silentLog } from '../../src/output/log.ts';
import { connect } from '../../src/pg/connection.ts';
import { getHealthFacts, type HealthFacts } from '../../src/sql/health-facts.ts';
import { ownDatabase, type TestDatabase } from './database.ts';

/** What differs from a plain run of health. */
interface Overrides {
  /** Who asks; the superuser of the tests by default. */
  as?: TestRole;
  /** Thresholds by check, as the configuration has them. */
  thresholds?: Record<string, Partial<WrittenThresholds>>;
  /** Where the dbops.yaml is; without one there is no configuration. */
  directory?: string;
  settings?: Partial<Settings>;
  /** What is said of the server, such as since when its statistics count. */
  facts?: Partial<HealthFacts>;
  /** The clock; that of the server by default. */
  now?: Date;
}

/** A role of one test. */
export interface TestRole {
  name: string;
  /** The database as this role. */
  url: string;
}

/** Runs checks, or groups of them, on a database, and returns what they say. */
export async function findingsOf(
  on: Pick<TestDatabase, 'url'>,
  ids: string[],
  overrides: Overrides = {},
): Promise<Finding[]> {
  const settings = await settingsFor(overrides.as?.url ?? on.url, overrides);
  const db = await connect({ ...settings.connection, applicationName: 'dbops health' });
  const stores = storesOf({ settings });
  try {
    const facts = { ...(await getHealthFacts(db)), ...overrides.facts };
    const signal = new AbortController().signal;
    const now = overrides.now ?? db.server.now;
    const context = { db, facts, settings, now, signal, log: silentLog, openStore: stores.open };
    return await runChecks(context, chooseChecks(settings, { only: ids }));
  } finally {
    await stores.closeAll();
    await db.close();
  }
}

/** The one finding of a check. */
export async function findingOf(
  on: Pick<TestDatabase, 'url'>,
  id: string,
  overrides: Overrides = {},
): Promise<Finding> {
  const findings = await findingsOf(on, [id], overrides);
  if (findings.length !== 1)
    throw new Error(`${id} has ${findings.length} findings, not one: ${JSON.stringify(findings)}`);
  return findings[0]!;
}

async function settingsFor(url: string, { directory, thresholds, settings }: Overrides): Promise<Settings> {
  const base =
    directory === undefined
      ? await defaultSettings({ url })
      : await loadSettings({}, directory, { DATABASE_URL: url });
  const given = Object.entries(thresholds ?? {}).map(([id, own]) => [id, { objects: {}, ...own }]);
  const merged = {
    ...base.health.thresholds,
    ...(Object.fromEntries(given) as Record<string, WrittenThresholds>),
  };
  return { ...base, health: { ...base.health, thresholds: merged }, ...settings };
}

/**
 * Creates a role that may log in and is a member of these predefined roles alone. It is dropped with the test, so its
 * database must still be there then: drop that in a hook.
 */
export async function createRole(on: Pick<TestDatabase, 'url'>, ...memberOf: string[]): Promise<TestRole> {
  const name = `dbops_health_${randomBytes(5).toString('hex')}`;
  const { query } = ownDatabase(on);
  await query(`create role ${name} login`);
  onTestFinished(async () => {
    await query(`drop owned by ${name}`);
    await query(`drop role ${name}`);
  });
  for (const group of memberOf) await query(`grant ${group} to ${name}`);
  const url = new URL(on.url);
  url.username = name;
  return { name, url: url.href };
}
