/** The oid of pg_class, which is the same everywhere. */
const pgClass = 1259;

/** An entry of a dump's table of contents, as pg_restore --list prints it. */
interface TocEntry {
  /** Names the file of its data: <dumpId>.dat. */
  dumpId: number;
  /** Of the system catalog that it stands in; 0 for data. */
  catalog: number;
  oid: number;
  /** TABLE DATA, SEQUENCE SET ...; the beginning of the line after the oids. */
  rest: string;
  line: string;
}

/** What a dump holds, by the oids of the source. */
export interface Toc {
  tables: Set<number>;
  /** Oid of the table to the number of its file, in the order of the dump. */
  tableData: Map<number, number>;
  sequences: Set<number>;
  /** Lines for pg_restore --use-list. */
  sequenceValues: string[];
}

/** Reads what pg_restore --list prints: "3363; 0 16385 TABLE DATA public a postgres". */
export function parseToc(list: string): Toc {
  const entries = list.split('\n').flatMap((line): TocEntry[] => {
    const match = /^(\d+); (\d+) (\d+) (.*)$/.exec(line);
    if (match === null) return [];
    const [dumpId = 0, catalog = 0, oid = 0] = match.slice(1, 4).map(Number);
    return [{ dumpId, catalog, oid, rest: match[4] ?? '', line }];
  });
  // A schema may be called DATA: only the catalog tells a table from its rows.
  const of = (kind: string, catalog: number) =>
    entries.filter((entry) => entry.catalog === catalog && entry.rest.startsWith(`${kind} `));
  return {
    tables: new Set([...of('TABLE', pgClass), ...of('FOREIGN TABLE', pgClass)].map((entry) => entry.oid)),
    tableData: new Map(of('TABLE DATA', 0).map((entry) => [entry.oid, entry.dumpId])),
    sequences: new Set(of('SEQUENCE', pgClass).map((entry) => entry.oid)),
    sequenceValues: of('SEQUENCE SET', 0).map((entry) => entry.line),
  };
}

/** The value of each sequence, by its name as a literal of SQL: SELECT pg_catalog.setval('public.a', 5, true); */
export function parseSequenceValues(sql: string): Map<string, { lastValue: string; isCalled: boolean }> {
  const values = new Map<string, { lastValue: string; isCalled: boolean }>();
  for (const match of sql.matchAll(/^SELECT pg_catalog\.setval\((.*), (-?\d+), (true|false)\);$/gm)) {
    values.set(match[1] ?? '', { lastValue: match[2] ?? '', isCalled: match[3] === 'true' });
  }
  return values;
}
