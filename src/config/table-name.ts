/**
 * Splits schema.table at the first dot; public where there is none. A part in double quotes is taken as it stands, so
 * that names with dots can be written as well.
 */
export function splitTable(text: string): { schema: string; name: string } {
  const quoted = /^(?:"((?:[^"]|"")+)"|([^".]+))\.(?:"((?:[^"]|"")+)"|(.+))$/s.exec(text);
  if (quoted !== null) {
    const unquote = (value: string | undefined) => value?.replaceAll('""', '"');
    return {
      schema: unquote(quoted[1]) ?? quoted[2] ?? '',
      name: unquote(quoted[3]) ?? quoted[4] ?? '',
    };
  }
  const alone = /^"((?:[^"]|"")+)"$/s.exec(text);
  return { schema: 'public', name: alone?.[1]?.replaceAll('""', '"') ?? text };
}

/** Writes a table so that splitTable reads the same again: with quotes only where a plain name would be misread. */
export function writeTable(table: { schema: string; name: string }): string {
  const plain = `${table.schema}.${table.name}`;
  const read = splitTable(plain);
  if (read.schema === table.schema && read.name === table.name) return plain;
  const quote = (part: string) => `"${part.replaceAll('"', '""')}"`;
  return `${quote(table.schema)}.${quote(table.name)}`;
}
