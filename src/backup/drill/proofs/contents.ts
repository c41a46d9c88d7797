import { displayName, visible } from '../../../sql/quote.ts';
import { listInstalledExtensions } from '../../../sql/backup-facts.ts';
import { listMissingRoles } from '../../../sql/drill.ts';
import type { LogicalPart } from '../../manifest.ts';
import { checkRestored, collationWarnings, type Difference } from '../../restore/database/check.ts';
import type { RestoreContext } from '../../restore/database/context.ts';
import { prove, some, type Proof } from '../report.ts';
import { lookInto, type Restored } from './restored.ts';

/** Compares what was restored with what the manifest recorded in the snapshot of the dump: not with what the source is today. */
export async function proveContents(
  restored: Restored,
  context: RestoreContext,
  logical: LogicalPart,
): Promise<Proof[]> {
  let differences: Difference[] = [];
  const looked = await prove('rows', async () => {
    ({ differences } = await checkRestored(context, restored.database, logical, 'hash'));
    return rowsFound(logical, differences);
  });
  // Without the comparison nothing is known of the rest of it.
  const isLooked = looked.outcome !== 'failed' || differences.length > 0;
  const about = (name: Difference['about'], fine: string): Proof => {
    const wrong = differences.filter((item) => item.about === name).map((item) => item.text);
    if (wrong.length > 0) return { name, outcome: 'failed', detail: some(wrong) };
    return isLooked
      ? { name, outcome: 'ok', detail: fine }
      : { name, outcome: 'unknown', detail: 'not compared: see rows' };
  };
  return [
    looked,
    hashesFound(logical, about),
    about('sequences', `${String(logical.sequences.length)} where they were`),
    about('large objects', `${String(logical.largeObjects)}, as recorded`),
    await proveRoles(restored, logical),
    await proveExtensions(restored, logical),
    await proveSorting(restored, logical),
  ];
}

function rowsFound(logical: LogicalPart, differences: Difference[]): Omit<Proof, 'name'> {
  const wrong = differences.filter((item) => item.about === 'rows').map((item) => item.text);
  if (wrong.length > 0) return { outcome: 'failed', detail: some(wrong) };
  const withRows = logical.tables.filter((table) => !table.dataExcluded);
  const compared = withRows.filter((table) => table.rows !== null);
  // The parent of partitions has no rows of its own, and no size.
  const uncounted = withRows.filter((table) => table.rows === null && table.sizeBytes > 0);
  if (uncounted.length > 0)
    return { outcome: 'unknown', detail: `the backup has no counts of ${some(uncounted.map(displayName))}` };
  const excluded = logical.tables.length - withRows.length;
  return {
    outcome: 'ok',
    detail:
      `${String(compared.length)} tables have as many as at the backup` +
      (excluded === 0 ? '' : `; of ${String(excluded)} the backup has none`),
  };
}

function hashesFound(logical: LogicalPart, about: (name: 'hashes', fine: string) => Proof): Proof {
  const compared = logical.tables.filter((table) => !table.dataExcluded && table.hash !== null).length;
  const all = logical.tables.filter((table) => !table.dataExcluded && table.rows !== null).length;
  const proof = about(
    'hashes',
    `every row of ${String(compared)} of ${String(all)} tables is as at the backup`,
  );
  if (proof.outcome !== 'ok' || compared > 0 || all === 0) return proof;
  return { ...proof, outcome: 'unknown', detail: 'the backup has no hashes: see backup.hashBelow' };
}

async function proveRoles(restored: Restored, logical: LogicalPart): Promise<Proof> {
  return await prove('roles', async () => {
    const missing = await lookInto(restored, restored.database, (db) => listMissingRoles(db, logical.roles));
    if (missing.length > 0) return { outcome: 'failed', detail: `missing: ${some(missing.map(visible))}` };
    return logical.globals === null
      ? { outcome: 'unknown', detail: 'the backup has no roles: they could not be read when it was made' }
      : { outcome: 'ok', detail: `${String(logical.roles.length)} that own or are granted something` };
  });
}

async function proveExtensions(restored: Restored, logical: LogicalPart): Promise<Proof> {
  return await prove('extensions', async () => {
    const there = await lookInto(restored, restored.database, listInstalledExtensions);
    const versionOf = (name: string) => there.find((item) => item.name === name)?.version;
    const missing = logical.extensions.filter((item) => versionOf(item.name) === undefined);
    if (missing.length > 0)
      return { outcome: 'failed', detail: `missing: ${some(missing.map((item) => visible(item.name)))}` };
    const other = logical.extensions.filter((item) => versionOf(item.name) !== item.version);
    // It was restored; whether the application works with another version nobody has tried.
    if (other.length > 0)
      return {
        outcome: 'unknown',
        detail: some(
          other.map(
            (item) => `${visible(item.name)} is ${versionOf(item.name) ?? ''} here and was ${item.version}`,
          ),
        ),
      };
    return {
      outcome: 'ok',
      detail: some(logical.extensions.map((item) => `${visible(item.name)} ${item.version}`)),
    };
  });
}

/** Indexes were built anew: text that sorts otherwise here is told, and nothing is broken by it. */
async function proveSorting(restored: Restored, logical: LogicalPart): Promise<Proof> {
  return await prove('collations', async () => {
    const told = await lookInto(restored, restored.database, (db) => collationWarnings(db, logical));
    return told.length === 0
      ? { outcome: 'ok', detail: 'versions are those of the backup, or not versioned' }
      : { outcome: 'ok', detail: `indexes were built anew; ${some(told)}` };
  });
}
