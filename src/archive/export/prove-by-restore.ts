import type { Db } from '../../pg/connection.ts';
import { displayName, relation, type RelationName } from '../../sql/quote.ts';
import type { FoundArchive } from '../catalogue.ts';
import type { ArchiveContext } from '../context.ts';
import { withoutMasked } from '../definition/masked.ts';
import { renderTable } from '../definition/render-table.ts';
import { loadParts } from '../restore/load.ts';
import { archivedDigest, compareDigests, restoredDigest } from '../restore/verify.ts';
import { listRelationsNamed } from '../../sql/relations.ts';

/** The scratch table of a proof, in the schema of the ledger. */
function scratchTable(schema: string, id: string): RelationName {
  return { schema, name: `proof_${id}` };
}

/**
 * Loads an archive from its store into a scratch table, compares the digest of what lies there, and drops the table. Needs
 * room for the rows once more, without indexes, and no WAL: the table is unlogged. Throws copy_damaged.
 */
export async function proveByRestore(context: ArchiveContext, archive: FoundArchive): Promise<void> {
  const { db, settings } = context;
  const target = scratchTable(settings.stateSchema, archive.id);
  const masked = archive.manifest.masked.map((item) => item.column);
  const { definition } = withoutMasked(archive.manifest.definition, masked);
  const scratch = { ...definition, persistence: 'unlogged' as const, tablespace: null };
  const plan = { archive, target, label: displayName(target) };
  try {
    for (const sql of renderTable(scratch, target)) await db.execute(sql);
    await loadParts(context, plan);
    const [row] = await listRelationsNamed(db, [target]);
    if (row === undefined) throw new Error('the scratch table vanished');
    compareDigests(
      plan,
      await archivedDigest(context, archive),
      await restoredDigest(context, plan, row.oid),
    );
  } finally {
    await dropScratch(db, settings.stateSchema, archive.id).catch(() => undefined);
  }
}

/** Removes the scratch table of an archive, which a killed run may have left. Locks: ACCESS EXCLUSIVE on it alone. */
export async function dropScratch(db: Db, schema: string, id: string): Promise<void> {
  await db.execute(`drop table if exists ${relation(scratchTable(schema, id))}`);
}
