import type { Db } from '../../pg/connection.ts';
import { ident } from '../../sql/quote.ts';
import {
  listExtensions,
  listRequirementEdges,
  listRequirements,
  type RequirementEdgeRow,
  type RequirementRow,
} from '../../sql/requirements.ts';
import type { Requirement } from './definition.ts';

/** What a table needs before it can be made, in the order in which it can be made. */
export interface Requirements {
  requirements: Requirement[];
  /** What it needs and what cannot be made again from here: operators, types in C, aggregates. */
  notes: string[];
}

/** Passed through on the way to what they belong to; PostgreSQL makes them with it. */
const silent = new Set(['pg_namespace', 'pg_constraint', 'pg_class', 'pg_extension', 'pg_language']);

/** Reads everything that a table needs; what its triggers and policies need as well, where asked for. Locks: none. */
export async function loadRequirements(
  db: Db,
  oid: number,
  options: { withTriggers?: boolean } = {},
): Promise<Requirements> {
  const edges = await listRequirementEdges(db, oid, options.withTriggers);
  const ordered = dependencyOrder(edges);
  const extensions = await listExtensions(db, [
    ...new Set(ordered.flatMap((item) => (item.extension === null ? [] : [item.extension]))),
  ]);
  const rows = await listRequirements(
    db,
    ordered.filter((item) => item.extension === null),
  );
  const byKey = new Map(rows.map((row) => [keyOf(row.catalog, row.oid), row]));
  const made = ordered.flatMap((item) => byKey.get(keyOf(item.catalog, item.oid)) ?? []);
  const usable = made.filter((row) => row.definition !== null);
  const schemas = [...extensions.map((item) => item.schema), ...usable.map((row) => row.schema)];
  return {
    requirements: [
      ...[...new Set(schemas)]
        .filter((schema) => schema !== 'pg_catalog')
        .sort()
        .map((schema) => plain('schema', ident(schema), '')),
      ...extensions.map((item) => plain('extension', ident(item.name), `schema ${ident(item.schema)}`)),
      ...usable.map(asRequirement),
    ],
    notes: ordered
      .filter((item) => item.extension === null && !isMade(item, byKey))
      .map((item) => `needs ${item.description}, which is not described here`),
  };
}

function plain(kind: 'schema' | 'extension', name: string, definition: string): Requirement {
  return { kind, name, definition, comment: null };
}

function asRequirement(row: RequirementRow): Requirement {
  return {
    kind: row.kind as Requirement['kind'],
    name: row.name,
    definition: row.definition ?? '',
    comment: row.comment,
  };
}

/** Arrays and multiranges come with what they are made of, which stands behind them in the graph. */
function isMade(item: RequirementEdgeRow, byKey: Map<string, RequirementRow>): boolean {
  if (silent.has(item.catalog)) return true;
  const row = byKey.get(keyOf(item.catalog, item.oid));
  if (row?.kind === 'other') return !item.isBaseType;
  return row !== undefined && row.definition !== null;
}

function keyOf(catalog: string, oid: number): string {
  return `${catalog} ${String(oid)}`;
}

/** What is needed comes before what needs it. A circle (a domain whose check calls a function of it) is cut somewhere. */
function dependencyOrder(edges: RequirementEdgeRow[]): RequirementEdgeRow[] {
  const nodes = new Map(edges.map((edge) => [keyOf(edge.catalog, edge.oid), edge]));
  const needs = new Map<string, string[]>();
  for (const edge of edges) {
    if (edge.fromClass === null || edge.fromOid === null) continue;
    const from = keyOf(edge.fromClass, edge.fromOid);
    needs.set(from, [...(needs.get(from) ?? []), keyOf(edge.catalog, edge.oid)]);
  }
  const ordered: RequirementEdgeRow[] = [];
  const visited = new Set<string>();
  const visit = (key: string): void => {
    if (visited.has(key)) return;
    visited.add(key);
    for (const needed of needs.get(key) ?? []) visit(needed);
    const node = nodes.get(key);
    if (node !== undefined) ordered.push(node);
  };
  for (const key of nodes.keys()) visit(key);
  return ordered;
}
