import type * as Api from '@duckdb/node-api';
import { DbopsError, interrupted } from '../../errors.ts';
import { exactValue, type Cell } from './values.ts';

/** The types of the package, for values.ts. */
export type * as DuckDb from '@duckdb/node-api';

/** What an engine may take of this host. */
export interface EngineOptions {
  /** Megabytes that DuckDB's buffers may take; a reader of text has some more beside them. Default 512. */
  memoryMb?: number | undefined;
  /** Default 2. */
  threads?: number | undefined;
  /** Where it spills to; without one it never does. */
  temporaryDirectory?: string | undefined;
  /** No file is read or written and no setting changed: for binding what somebody typed. */
  isSealed?: boolean;
  signal?: AbortSignal | undefined;
}

/** A column of a result, with DuckDB's name of its type. */
export interface ResultColumn {
  name: string;
  type: string;
}

/** A DuckDB in memory, in this process. The caller closes it. Every failure of a statement is an EngineError. */
export interface Engine {
  run(sql: string): Promise<void>;
  rows(sql: string): Promise<Cell[][]>;
  /** Rows as they are found, in bundles of some 2,000; nothing is kept. */
  stream(sql: string): Promise<{ columns: ResultColumn[]; bundles: AsyncIterable<Cell[][]> }>;
  close(): void;
}

/** What DuckDB said of a statement: `kind` is its own word, such as "Parser Error". */
export class EngineError extends DbopsError {
  readonly kind: string;
  /** DuckDB's message without the kind, whole. */
  readonly words: string;

  constructor(cause: unknown) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const match = /^([A-Z][A-Za-z -]*? Error|[A-Z]+ Error): (.*)$/s.exec(text);
    const words = match?.[2] ?? text;
    super('tool_failed', `duckdb: ${words.split('\n')[0] ?? ''}`.replace(/\.$/, ''), { detail: text, cause });
    this.kind = match?.[1] ?? '';
    this.words = words;
  }
}

/** A string literal of DuckDB, in which only the quote is special. */
export function duckLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** An identifier of DuckDB, always quoted: its reserved words are not those of PostgreSQL. */
export function duckIdent(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Characters with which DuckDB takes a path for a pattern of paths. */
export function isPattern(path: string): boolean {
  return /[*?[\]{}]/.test(path);
}

/**
 * Opens a DuckDB. Throws tool_failed when the package is not there: it is an optional one, since it is larger than all
 * the rest. Extensions are neither installed nor loaded; what is used is built in.
 */
export async function openEngine(options: EngineOptions = {}): Promise<Engine> {
  const api = await load();
  const { signal } = options;
  if (signal?.aborted === true) throw interrupted(signal);
  const instance = await api.DuckDBInstance.create(':memory:', {
    threads: String(options.threads ?? 2),
    memory_limit: `${String(options.memoryMb ?? 512)}MB`,
    temp_directory: options.temporaryDirectory ?? '',
    autoload_known_extensions: 'false',
    autoinstall_known_extensions: 'false',
    ...(options.isSealed === true ? { enable_external_access: 'false' } : {}),
  });
  const connection = await instance.connect();
  const engine = new DuckDbEngine(api, instance, connection, signal);
  await engine.run("set TimeZone = 'UTC'");
  return engine;
}

class DuckDbEngine implements Engine {
  readonly #api: typeof Api;
  readonly #instance: Api.DuckDBInstance;
  readonly #connection: Api.DuckDBConnection;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: () => void;

  constructor(
    api: typeof Api,
    instance: Api.DuckDBInstance,
    connection: Api.DuckDBConnection,
    signal: AbortSignal | undefined,
  ) {
    this.#api = api;
    this.#instance = instance;
    this.#connection = connection;
    this.#signal = signal;
    this.#onAbort = () => connection.interrupt();
    signal?.addEventListener('abort', this.#onAbort);
  }

  async run(sql: string): Promise<void> {
    await this.#ask(() => this.#connection.run(sql));
  }

  async rows(sql: string): Promise<Cell[][]> {
    const { bundles } = await this.stream(sql);
    const all: Cell[][] = [];
    for await (const bundle of bundles) for (const row of bundle) all.push(row);
    return all;
  }

  async stream(sql: string): Promise<{ columns: ResultColumn[]; bundles: AsyncIterable<Cell[][]> }> {
    const result = await this.#ask(() => this.#connection.stream(sql));
    const names = result.columnNames();
    const types = result.columnTypes();
    const columns = names.map((name, index) => ({ name, type: String(types[index]) }));
    return { columns, bundles: this.#bundles(result, types) };
  }

  async *#bundles(result: Api.DuckDBResult, types: Api.DuckDBType[]): AsyncIterable<Cell[][]> {
    for (;;) {
      const chunk = await this.#ask(() => result.fetchChunk());
      if (chunk === null || chunk.rowCount === 0) return;
      yield chunk.getRows().map((row) =>
        row.map((value, index) => {
          const type = types[index];
          return type === undefined ? null : exactValue(this.#api, value, type);
        }),
      );
    }
  }

  close(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#connection.closeSync();
    this.#instance.closeSync();
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    this.#refuseAborted();
    try {
      return await work();
    } catch (error) {
      this.#refuseAborted();
      throw new EngineError(error);
    }
  }

  #refuseAborted(): void {
    if (this.#signal?.aborted === true) throw interrupted(this.#signal);
  }
}

async function load(): Promise<typeof Api> {
  try {
    return await import('@duckdb/node-api');
  } catch (cause) {
    throw new DbopsError('tool_failed', 'the package @duckdb/node-api is needed for Parquet and not there', {
      hint: 'Install it beside dbops: "npm install --global @duckdb/node-api", or without --global where dbops is a dependency of a project.',
      detail: cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause),
      cause,
    });
  }
}
