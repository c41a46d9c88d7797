import type { Settings } from '../config/settings.ts';
import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import { loadSets } from '../partition/model/load-sets.ts';
import { lastFinite, type PartitionSet } from '../partition/model/set.ts';
import { listPartmanSets } from '../sql/adoption.ts';
import { grants, listExtensions, type ExtensionRow } from '../sql/doctor.ts';
import { listForeignKeys, listParents, type ForeignKeyRow, type ParentRow } from '../sql/parents.ts';
import { relation, visible } from '../sql/quote.ts';
import { finding, ok, type Finding } from './finding.ts';

/** What `partition ensure` and `detach` need for each configured table, with the GRANT where it is missing. */
export async function checkSets(db: Db, settings: Settings): Promise<Finding[]> {
  const { sets, problems } = await loadSets(db, settings.partitions);
  const found = problems.map(({ error }) =>
    finding('sets.configured', 'crit', visible(error.message), error.hint),
  );
  const branches = sets.flatMap((set) => set.branches);
  if (branches.length === 0) return found;
  const parents = await listParents(
    db,
    branches.map((branch) => ({ oid: branch.oid, leafOid: lastFinite(branch)?.oid ?? null })),
  );
  const keys = await listForeignKeys(
    db,
    branches.map((branch) => branch.oid),
  );
  const missing = [...ownership(db, parents), ...references(db, keys)];
  if (missing.length > 0) return [...found, ...missing];
  return [
    ...found,
    ok('privilege.partitions', `may create, attach and detach partitions of ${tables(sets)}`),
  ];
}

function tables(sets: PartitionSet[]): string {
  return sets.length === 1 ? (sets[0]?.label ?? '') : `all ${String(sets.length)} configured tables`;
}

/** One finding for each role or schema, not for each table: a hundred lines would hide the one GRANT. */
function ownership(db: Db, parents: ParentRow[]): Finding[] {
  const role = db.server.user;
  const found: Finding[] = [];
  const foreign = groupBy(
    parents.filter((parent) => !parent.isOwner),
    (parent) => parent.owner,
  );
  for (const [owner, list] of foreign) {
    found.push(
      finding(
        'privilege.owner',
        'crit',
        `${names(list)}: owned by "${visible(owner)}", and only an owner attaches and detaches`,
        grants.membership(owner, role),
      ),
    );
  }
  const closed = groupBy(
    parents.filter((parent) => !parent.mayCreate),
    (parent) => parent.leafSchema,
  );
  for (const [schema, list] of closed) {
    found.push(
      finding(
        'privilege.create',
        'crit',
        `${names(list)}: no table may be created in the schema "${visible(schema)}"`,
        grants.createOnSchema(schema, role),
      ),
    );
  }
  return found;
}

function references(db: Db, keys: ForeignKeyRow[]): Finding[] {
  const blocked = keys.filter((key) => key.direction === 'outgoing' && !key.mayReference);
  return [
    ...groupBy(blocked, (key) => relation({ schema: key.otherSchema, name: key.otherName })).keys(),
  ].map((table) =>
    finding(
      'privilege.references',
      'crit',
      `foreign keys point at ${visible(table)}, which this role may not reference`,
      grants.references(table, db.server.user),
    ),
  );
}

function names(list: ParentRow[]): string {
  const shown = list.slice(0, 3).map((item) => visible(`${item.schema}.${item.name}`));
  return list.length > 3 ? `${shown.join(', ')} and ${String(list.length - 3)} more` : shown.join(', ');
}

function groupBy<Item>(list: Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of list) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

const usefulExtensions: Record<string, string> = {
  pg_stat_statements: 'partition prune-check --top reads the busiest statements from it',
  pgstattuple: 'measures bloat exactly',
  amcheck: 'checks indexes and tables for corruption',
};

/** Extensions that matter, and whether pg_partman works on the same tables. */
export async function checkExtensions(db: Db, settings: Settings): Promise<Finding[]> {
  const rows = await listExtensions(db, [...Object.keys(usefulExtensions), 'pg_partman']);
  const found = rows.filter((row) => row.name !== 'pg_partman').map(describeExtension);
  const partman = rows.find((row) => row.name === 'pg_partman');
  if (partman === undefined || partman.installed === null) return found;
  return [...found, ...(await checkPartman(db, settings, partman.installed))];
}

function describeExtension(row: ExtensionRow): Finding {
  const check = `extension.${row.name}`;
  const use = usefulExtensions[row.name] ?? '';
  if (row.installed !== null) return ok(check, `${row.name} ${row.installed} is installed`);
  if (row.available === null) {
    return finding(
      check,
      row.name === 'pg_stat_statements' ? 'warn' : 'unknown',
      `${row.name} is not on the server; it ${use.replace(/^partition/, 'is what partition')}`,
      'apt-get install postgresql-contrib on the server (it is part of postgresql-NN on Debian).',
    );
  }
  if (row.name !== 'pg_stat_statements') return ok(check, `${row.name} can be installed; it ${use}`);
  return finding(
    check,
    'warn',
    `${row.name} is not installed; ${use}`,
    "shared_preload_libraries = 'pg_stat_statements', a restart, then: create extension pg_stat_statements;",
  );
}

async function checkPartman(db: Db, settings: Settings, version: string): Promise<Finding[]> {
  const check = 'extension.pg_partman';
  try {
    const rows = await listPartmanSets(db);
    const configured = new Set(settings.partitions.map((item) => `${item.schema}.${item.name}`));
    const both = rows.filter((row) => row.isAutomatic && configured.has(row.parentTable));
    if (both.length === 0) {
      return [ok(check, `pg_partman ${version} is installed and leaves the configured tables alone`)];
    }
    return both.map((row) =>
      finding(
        check,
        'warn',
        `pg_partman ${version} maintains ${visible(row.parentTable)} as well: two programs create and drop its partitions`,
        visible(
          `update ${row.configTable} set automatic_maintenance = 'off' where parent_table = '${row.parentTable.replaceAll("'", "''")}';`,
        ),
      ),
    );
  } catch (error) {
    if (!(error instanceof DbopsError) || error.code !== 'privilege_missing') throw error;
    return [finding(check, 'unknown', `pg_partman ${version} is installed, its part_config may not be read`)];
  }
}
