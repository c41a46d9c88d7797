import { renderTypes } from '../../../archive/definition/render-requirements.ts';
import { loadRequirements } from '../../../archive/definition/requirements.ts';
import type { Requirement } from '../../../archive/definition/definition.ts';
import type { Db } from '../../../pg/connection.ts';
import { bodyOf, startPipeline } from '../../../process/pipeline.ts';
import { ident, visible } from '../../../sql/quote.ts';
import type { Making } from '../maker.ts';
import type { LogicalPlan, Selection } from './plan.ts';
import { zstd } from './commands.ts';

/**
 * Stores a script that makes what the tables need and pg_dump leaves out beside them: schemas, extensions, types, domains,
 * collations and functions, those of triggers and policies too. What is there already is kept, and refused where a type is
 * different. Sequences are in the dump itself. `session` is the one of the snapshot. Locks: none.
 */
export async function storeRequirements(
  making: Making,
  plan: LogicalPlan,
  session: Db,
  selection: Selection,
): Promise<void> {
  const schemas = [...new Set(selection.names.map((table) => ident(table.schema)))].sort();
  const needed = new Map<string, Requirement>(
    schemas.map((name) => [`schema ${name}`, { kind: 'schema', name, definition: '', comment: null }]),
  );
  const notes = new Set<string>();
  for (const table of selection.tables) {
    const loaded = await loadRequirements(session, table.oid, { withTriggers: true });
    for (const item of loaded.requirements) {
      const key = `${item.kind} ${item.name}`;
      if (item.kind !== 'sequence' && !needed.has(key)) needed.set(key, item);
    }
    for (const note of loaded.notes) notes.add(note);
  }
  const script = [
    '-- What the tables of this backup need. Run it with psql and ON_ERROR_STOP before pg_restore.',
    ...[...notes].map((note) => `-- ${visible(note)}`),
    "set client_encoding = 'UTF8';",
    "set search_path = '';",
    'set standard_conforming_strings = on;',
    'set check_function_bodies = off;',
    ...renderTypes({ requirements: inOrder([...needed.values()]) }).map((statement) => `${statement};`),
  ].join('\n');
  const compressing = startPipeline([zstd(making.context, plan)], {
    isFed: true,
    signal: making.context.signal,
  });
  compressing.input.end(`${script}\n`);
  await making.sink.put('requirements.sql.zst', bodyOf(compressing));
}

/** Schemas and extensions of all tables before the types of any: the rest stands behind what it needs itself. */
function inOrder(items: Requirement[]): Requirement[] {
  const rank = (item: Requirement) => (item.kind === 'schema' ? 0 : item.kind === 'extension' ? 1 : 2);
  return items.toSorted((a, b) => rank(a) - rank(b));
}
