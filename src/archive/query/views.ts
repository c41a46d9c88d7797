import { duckIdent, duckLiteral, type Engine } from '../parquet/duckdb.ts';
import type { CoveredArchive, ViewColumn } from './coverage.ts';
import type { TableReference } from './statement.ts';

/** A view that a query needs: the name that it uses, and the archives behind it. */
export interface TableView {
  reference: TableReference;
  archives: CoveredArchive[];
}

/** The schema of the empty tables that stand for archives. */
const stubSchema = 'dbops stubs';

/**
 * Says which archives a query can find rows in: it is planned over an empty table for each archive, with the archive's
 * bounds as a condition, and the optimizer takes away those that contradict the query. `views` must be fresh names in
 * this engine. Throws EngineError where the query does not fit the tables.
 */
export async function neededArchives(
  engine: Engine,
  views: TableView[],
  sql: string,
): Promise<Set<CoveredArchive>> {
  await engine.run(`create schema ${duckIdent(stubSchema)}`);
  const stubs = new Map<string, CoveredArchive>();
  for (const view of views) {
    const branches: string[] = [];
    for (const archive of view.archives) {
      const name = `stub ${String(stubs.size)} end`;
      stubs.set(name, archive);
      const table = `${duckIdent(stubSchema)}.${duckIdent(name)}`;
      const columns = archive.columns.map((column) => `${duckIdent(column.name)} ${column.type}`);
      await engine.run(`create table ${table} (${columns.join(', ')})`);
      branches.push(branch(archive, table, archive.bounds === null ? [] : [archive.bounds]));
    }
    await createView(engine, view.reference, branches);
  }
  // The statistics of an empty table would take everything away.
  await engine.run("set disabled_optimizers = 'statistics_propagation'");
  const [[, plan] = []] = await engine.rows(`explain (format json) ${sql}`);
  return new Set(
    [...stubs].filter(([name]) => (plan as string).includes(name)).map(([, archive]) => archive),
  );
}

/** The columns of a view, as the engine unites those of its archives. */
export async function columnsOf(engine: Engine, reference: TableReference): Promise<ViewColumn[]> {
  const rows = await engine.rows(`describe select * from ${nameOf(reference)}`);
  return rows.map(([name, type]) => ({ name: name as string, type: type as string }));
}

/**
 * Makes the view that a query reads, over Parquet files. `columns` are there even where none of the files has them, or
 * there is no file at all.
 */
export async function createFileView(
  engine: Engine,
  reference: TableReference,
  columns: ViewColumn[],
  sources: { archive: CoveredArchive; paths: string[] }[],
): Promise<void> {
  const none = columns.map((column) => `cast(null as ${column.type}) as ${duckIdent(column.name)}`);
  const branches = [`select ${none.join(', ')} where false`];
  for (const { archive, paths } of sources) {
    if (paths.length === 0) continue;
    const files = `read_parquet([${paths.map(duckLiteral).join(', ')}], hive_partitioning = false)`;
    branches.push(branch(archive, files, []));
  }
  await createView(engine, reference, branches);
}

async function createView(engine: Engine, reference: TableReference, branches: string[]): Promise<void> {
  if (reference.schema !== null)
    await engine.run(`create schema if not exists ${duckIdent(reference.schema)}`);
  // Columns that came or went between two archives are matched by name, and NULL where they are not.
  await engine.run(`create view ${nameOf(reference)} as ${branches.join(' union all by name ')}`);
}

function nameOf(reference: TableReference): string {
  const schema = reference.schema === null ? '' : `${duckIdent(reference.schema)}.`;
  return `${schema}${duckIdent(reference.name)}`;
}

/** One archive's rows, without those that a newer one has. */
function branch(archive: CoveredArchive, from: string, bounds: string[]): string {
  const list = archive.columns.map((column) => duckIdent(column.name)).join(', ');
  const conditions = [...bounds, ...archive.without];
  const where =
    conditions.length === 0 ? '' : ` where ${conditions.map((item) => `(${item})`).join(' and ')}`;
  return `select ${list} from ${from}${where}`;
}
