/** A relation by schema and name, as they stand in the catalog: not quoted, not folded. */
export interface RelationName {
  schema: string;
  name: string;
}

/**
 * Quotes an identifier. Always quoted, so that keywords, upper case, Korean and hostile names (quotes, semicolons,
 * newlines) need no judgement. A NUL cannot stand in an identifier and never comes from the catalog.
 */
export function ident(name: string): string {
  if (name.includes('\0')) throw new Error('an identifier cannot contain a NUL');
  return /^[a-z_][a-z0-9_]*$/.test(name) && !reserved.has(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** "schema"."name", with quotes where they are needed. */
export function relation(table: RelationName): string {
  return `${ident(table.schema)}.${ident(table.name)}`;
}

/** A string literal for statements that take no parameters (DDL). Backslashes need the E form whatever the settings. */
export function literal(text: string): string {
  if (text.includes('\0')) throw new Error('a literal cannot contain a NUL');
  const quoted = text.replaceAll("'", "''");
  return text.includes('\\') ? ` E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`;
}

/** A relation for people: schema.name without quotes, control characters made visible. */
export function displayName(table: RelationName): string {
  return visible(`${table.schema}.${table.name}`);
}

/** Control characters would let a name forge lines of our output. */
export function visible(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** PostgreSQL 18's reserved words and those that may name neither a type, a function nor a column. */
const reserved = new Set(
  (
    'all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case ' +
    'cast char character check coalesce collate collation column concurrently constraint create cross ' +
    'current_catalog current_date current_role current_schema current_time current_timestamp current_user dec ' +
    'decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign ' +
    'freeze from full grant greatest group grouping having ilike in initially inner inout int integer intersect ' +
    'interval into is isnull join json json_array json_arrayagg json_exists json_object json_objectagg json_query ' +
    'json_scalar json_serialize json_table json_value lateral leading least left like limit localtime ' +
    'localtimestamp merge_action national natural nchar none normalize not notnull null nullif numeric offset on ' +
    'only or order out outer overlaps overlay placing position precision primary real references returning right ' +
    'row select session_user setof similar smallint some substring symmetric system_user table tablesample then ' +
    'time timestamp to trailing treat trim true union unique user using values varchar variadic verbose when ' +
    'where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi ' +
    'xmlroot xmlserialize xmltable'
  ).split(' '),
);

/** A text as a literal, null as NULL. */
export function literalOrNull(text: string | null): string {
  return text === null ? 'null' : literal(text);
}

/** Texts as an array for a statement that is printed. */
export function textArray(texts: string[]): string {
  return `array[${texts.map(literal).join(', ')}]::pg_catalog.text[]`;
}
