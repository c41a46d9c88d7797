import { DbopsError } from '../../errors.ts';
import { visible } from '../../sql/quote.ts';
import { duckLiteral, EngineError, type Engine } from '../parquet/duckdb.ts';

/** A table as a query names it. */
export interface TableReference {
  /** Null where it is named alone. */
  schema: string | null;
  name: string;
}

/** What a query asks for. */
export interface ParsedQuery {
  /** The statement as it was typed, without the semicolon at its end. */
  sql: string;
  /** Every table that it names, each once; names of its own WITH among them where a table may be meant. */
  tables: TableReference[];
  /** Names that its WITH clauses give. */
  ownNames: Set<string>;
}

/** Functions that make rows of their arguments; all others read files, settings or the engine itself. */
const rowFunctions = new Set([
  'range',
  'generate_series',
  'unnest',
  'json_each',
  'json_tree',
  'repeat',
  'repeat_row',
]);

interface SyntaxTree {
  error: boolean;
  error_type?: string;
  error_message?: string;
  statements?: unknown[];
}

/**
 * Reads a query with DuckDB's own parser. Throws usage for what cannot be parsed, and refused for what is no query of
 * archives: several statements, one that changes or sets something, a function or a path that reads anything else.
 */
export async function parseQuery(engine: Engine, typed: string): Promise<ParsedQuery> {
  const tree = await syntaxTree(engine, typed);
  if (tree.error) throw unfit(tree);
  const statements = tree.statements ?? [];
  if (statements.length !== 1) {
    const count = statements.length === 0 ? 'no statement' : `${String(statements.length)} statements`;
    throw new DbopsError('usage', `there is ${count} where one query is asked for`, {
      hint: 'Quote it as one argument: dbops archive query "select count(*) from public.orders".',
    });
  }
  const tables = new Map<string, TableReference>();
  const ownNames = new Set<string>();
  visit(statements[0], (node) => {
    for (const name of namesOfWith(node)) ownNames.add(name.toLowerCase());
    const table = tableOf(node);
    if (table !== undefined) tables.set(JSON.stringify([table.schema, table.name]).toLowerCase(), table);
    refuseFunction(node);
  });
  return { sql: typed.replace(/[\s;]+$/, ''), tables: [...tables.values()], ownNames };
}

async function syntaxTree(engine: Engine, typed: string): Promise<SyntaxTree> {
  try {
    const [[json] = []] = await engine.rows(
      `select cast(json_serialize_sql(${duckLiteral(typed)}) as varchar)`,
    );
    return JSON.parse(json as string) as SyntaxTree;
  } catch (error) {
    if (error instanceof EngineError) throw queryError(error);
    throw error;
  }
}

function unfit(tree: SyntaxTree): DbopsError {
  const words = tree.error_message ?? '';
  const isChange = tree.error_type === 'not implemented' || words.includes('CTE needs a SELECT');
  if (!isChange) {
    return new DbopsError('usage', `the query cannot be parsed: ${oneLine(words)}`, {
      hint: 'It is SQL of DuckDB, which reserves a few more words than PostgreSQL: put names such as "at" in double quotes.',
    });
  }
  return new DbopsError('refused', 'only a query can be run on archives', {
    hint: 'Write SELECT, WITH or VALUES: archives are read and never changed, and no other file is.',
  });
}

type Node = Record<string, unknown>;

function visit(value: unknown, see: (node: Node) => void): void {
  if (Array.isArray(value)) for (const item of value) visit(item, see);
  else if (typeof value === 'object' && value !== null) {
    see(value as Node);
    for (const item of Object.values(value)) visit(item, see);
  }
}

function namesOfWith(node: Node): string[] {
  const map = (node['cte_map'] as { map?: { key: string }[] } | undefined)?.map ?? [];
  return map.map((item) => item.key);
}

function tableOf(node: Node): TableReference | undefined {
  if (node['type'] !== 'BASE_TABLE') return undefined;
  const part = (key: string) => (node[key] as string | undefined) ?? '';
  const [catalog, schema, name] = [part('catalog_name'), part('schema_name'), part('table_name')];
  if (catalog !== '') {
    throw new DbopsError('refused', `"${visible(`${catalog}.${schema}.${name}`)}" names a database`, {
      hint: 'Name tables as schema.table, and the database with --database.',
    });
  }
  return { schema: schema === '' ? null : schema, name };
}

function refuseFunction(node: Node): void {
  if (node['type'] !== 'TABLE_FUNCTION') return;
  const called = node['function'] as { function_name?: string } | undefined;
  const name = called?.function_name ?? '';
  if (rowFunctions.has(name.toLowerCase())) return;
  throw new DbopsError('refused', `a query of archives cannot call ${visible(name)}() in FROM`, {
    hint: `Tables of archives are read, and these functions: ${[...rowFunctions].join(', ')}.`,
  });
}

/** What DuckDB says of a query, as our error: its words are about what was typed. */
export function queryError(error: EngineError): DbopsError {
  const code = error.kind === 'Permission Error' ? 'refused' : isTyped(error.kind) ? 'usage' : 'tool_failed';
  return new DbopsError(code, `the query failed: ${oneLine(error.words)}`, {
    detail: error.words.split('\n').slice(1).join('\n').trim(),
    cause: error,
    hint:
      error.kind === 'Out of Memory Error'
        ? 'Ask for less at a time; a larger machine, Spark or Trino can read the same Parquet.'
        : undefined,
  });
}

/** Mistakes in the query or in what it meets, not in the engine. */
function isTyped(kind: string): boolean {
  return /^(Parser|Binder|Catalog|Conversion|Invalid Input|Out of Range|Syntax|Not implemented|Mismatch Type|Constraint) Error$/.test(
    kind,
  );
}

function oneLine(words: string): string {
  return visible(words.split('\n')[0] ?? '').replace(/[.!]$/, '');
}
