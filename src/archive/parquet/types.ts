/** How the values of a type of PostgreSQL become values of Parquet. */
export interface Conversion {
  /** DuckDB's type: what a cast goes to, and what a query sees. */
  duckType: string;
  /** Physical type and annotation in the file, for people. */
  parquetType: string;
  /** Whether COPY writes backslashes into its text; numbers and times have none. */
  mayEscape: boolean;
  /** An expression over COPY's text (unescaped) that is null, never an error, for a text that it cannot take. */
  read: (text: string) => string;
  /** Whether what was read is not exactly what the text says: true, false, never null. */
  differs: (read: string, text: string) => string;
  /** Which values have no equal, should one be met. */
  lacks: string;
}

/** What is planned for a column; without a conversion it is kept as text. */
export interface TypePlan {
  conversion: Conversion | null;
  /** Whether the text is what the value is: a text, not a number or a time in the disguise of one. */
  isText: boolean;
  /** Why it is kept as text; empty where that loses nothing. */
  why: string;
}

export const textParquetType = 'BYTE_ARRAY (STRING)';

const asText = (value: string) => `cast(${value} as varchar)`;

/** A type whose text in DuckDB is the one in PostgreSQL: what was read is written again and compared. */
function writtenAlike(duckType: string, parquetType: string, lacks: string): Conversion {
  return {
    duckType,
    parquetType,
    mayEscape: false,
    read: (text) => `try_cast(${text} as ${duckType})`,
    differs: (read, text) => `${asText(read)} is distinct from ${text}`,
    lacks,
  };
}

/** Both read to the nearest binary number, so there is no need to compare texts, which are written otherwise. */
function float(duckType: string, parquetType: string): Conversion {
  return {
    duckType,
    parquetType,
    mayEscape: false,
    read: (text) => `try_cast(${text} as ${duckType})`,
    differs: (read, text) => `(${read} is null or (isinf(${read}) and not ends_with(${text}, 'Infinity')))`,
    lacks: 'a number beyond its range',
  };
}

const outOfRange = 'a number beyond its range';
const calendar = 'infinity, a year before Christ or one beyond its range';

const timestamptz: Conversion = {
  duckType: 'TIMESTAMP WITH TIME ZONE',
  mayEscape: false,
  parquetType: 'INT64 (TIMESTAMP, MICROS, UTC)',
  // Without a zone to look up it is read in half the time; the sessions of an export are in UTC.
  read: (text) => `cast(try_cast(${text}[:-4] as timestamp) at time zone 'UTC' as timestamptz)`,
  differs: (read, text) =>
    `(${asText(`${read} at time zone 'UTC'`)} || '+00' is distinct from ${text} or ${text} like '%inf%')`,
  lacks: calendar,
};

const bytes: Conversion = {
  duckType: 'BLOB',
  mayEscape: true,
  parquetType: 'BYTE_ARRAY',
  read: (text) => `case when starts_with(${text}, '\\x') then try(unhex(${text}[3:])) end`,
  differs: (read, text) =>
    `(${read} is null or 2 * octet_length(${read}) + 2 <> strlen(${text}) or lower(hex(${read})) <> ${text}[3:])`,
  lacks: 'bytes that are not written in hexadecimal',
};

const boolean: Conversion = {
  duckType: 'BOOLEAN',
  mayEscape: false,
  parquetType: 'BOOLEAN',
  read: (text) => `case ${text} when 't' then true when 'f' then false end`,
  differs: (read) => `${read} is null`,
  lacks: 'a text that is neither t nor f',
};

const notInfinite = (base: Conversion): Conversion => ({
  ...base,
  // DuckDB's infinities are far days to every other reader.
  differs: (read, text) => `(${base.differs(read, text)} or ${text} like '%inf%')`,
});

const scalars: Record<string, Conversion> = {
  smallint: writtenAlike('SMALLINT', 'INT32 (INT, 16)', outOfRange),
  integer: writtenAlike('INTEGER', 'INT32', outOfRange),
  bigint: writtenAlike('BIGINT', 'INT64', outOfRange),
  oid: writtenAlike('UINTEGER', 'INT32 (UINT, 32)', outOfRange),
  real: float('FLOAT', 'FLOAT'),
  'double precision': float('DOUBLE', 'DOUBLE'),
  boolean,
  date: notInfinite(writtenAlike('DATE', 'INT32 (DATE)', calendar)),
  'timestamp without time zone': notInfinite(
    writtenAlike('TIMESTAMP', 'INT64 (TIMESTAMP, MICROS, local)', calendar),
  ),
  'timestamp with time zone': timestamptz,
  'time without time zone': {
    ...writtenAlike('TIME', 'INT64 (TIME, MICROS, local)', '24:00:00'),
    differs: (read, text) => `(${asText(read)} is distinct from ${text} or ${text} = '24:00:00')`,
  },
  uuid: writtenAlike('UUID', 'FIXED_LEN_BYTE_ARRAY(16) (UUID)', 'a text that is no uuid'),
  bytea: bytes,
  json: {
    duckType: 'JSON',
    parquetType: 'BYTE_ARRAY (JSON)',
    mayEscape: true,
    // The cast looks whether it is JSON, and keeps every byte.
    read: (text) => `try_cast(${text} as json)`,
    differs: (read) => `${read} is null`,
    lacks: 'a document that DuckDB does not take for JSON, such as half a surrogate',
  },
};

const texts = new Set(['text', 'character varying', 'character', 'name', '"char"', 'bpchar']);

const kept: Record<string, string> = {
  numeric: 'a numeric without precision has no one scale',
  interval: 'Parquet has milliseconds only, and no sign',
  'time with time zone': 'Parquet keeps no offset',
  money: 'its value hangs on lc_monetary',
};

/**
 * Plans for a type, named as format_type() does with an empty search_path. `base` is the type of a domain, `isEnum` says
 * that it is an enumeration. Every conversion is checked value by value when it is made; see `differs`.
 */
export function planType(
  type: string,
  known: { base?: string | undefined; isEnum?: boolean | undefined } = {},
): TypePlan {
  if (known.base !== undefined) return planType(known.base);
  const bare = withoutModifier(type);
  const element = /^(.*)\[\]$/.exec(type)?.[1];
  if (element !== undefined) return planArray(element);
  if (texts.has(bare)) return { conversion: null, isText: true, why: '' };
  const conversion = bare === 'jsonb' ? scalars['json'] : (scalars[bare] ?? decimal(type));
  if (conversion !== undefined) return { conversion, isText: false, why: '' };
  const family = bare.startsWith('interval') ? 'interval' : bare;
  const why = known.isEnum === true ? 'its labels are ordered otherwise than by alphabet' : kept[family];
  return { conversion: null, isText: false, why: whyNoDecimal(type) ?? why ?? 'Parquet has no such type' };
}

/** "timestamp(3) with time zone" and "character varying(20)" without their numbers. */
function withoutModifier(type: string): string {
  return type.replace(/\s?\(-?\d+(?:,-?\d+)?\)/, '');
}

function decimal(type: string): Conversion | undefined {
  const match = /^numeric\((\d+),(\d+)\)$/.exec(type);
  if (match === null) return undefined;
  const [precision, scale] = [Number(match[1]), Number(match[2])];
  if (precision > 38 || scale > precision) return undefined;
  const physical = precision <= 9 ? 'INT32' : precision <= 18 ? 'INT64' : 'FIXED_LEN_BYTE_ARRAY(16)';
  const name = `DECIMAL(${String(precision)},${String(scale)})`;
  return writtenAlike(name, `${physical} (${name})`, 'NaN');
}

function whyNoDecimal(type: string): string | undefined {
  return /^numeric\(/.test(type)
    ? 'DECIMAL ends at 38 digits, and its scale lies between none and all of them'
    : undefined;
}

/** One dimension of a type that is kept; COPY's text of it is taken apart element by element and put together again. */
function planArray(elementType: string): TypePlan {
  const element = planType(elementType);
  if (element.conversion === null && !element.isText) {
    return { conversion: null, isText: false, why: `elements of it are kept as text: ${element.why}` };
  }
  // bytea and json elements would be escaped twice in the comparison; they are rare.
  if (element.conversion?.duckType === 'BLOB' || element.conversion?.duckType === 'JSON') {
    return { conversion: null, isText: false, why: 'arrays of this type are not taken apart' };
  }
  return { conversion: arrayOf(element.conversion), isText: false, why: '' };
}

function arrayOf(element: Conversion | null): Conversion {
  const elementType = element?.duckType ?? 'VARCHAR';
  const pieces = (text: string) => `regexp_extract_all(${text}[2:-2], '"(?:[^"\\\\]|\\\\.)*"|[^,]+')`;
  const unquoted =
    `case when piece = 'NULL' then null when starts_with(piece, '"')` +
    ` then regexp_replace(piece[2:-2], '\\\\(.)', '\\1', 'gs') else piece end`;
  const parts = (text: string) => `list_transform(${pieces(text)}, lambda piece: ${unquoted})`;
  return {
    duckType: `${elementType}[]`,
    mayEscape: true,
    parquetType: `LIST of ${element?.parquetType ?? textParquetType}`,
    read: (text) =>
      element === null ? parts(text) : `list_transform(${parts(text)}, lambda part: ${element.read('part')})`,
    // Two dimensions, or bounds of its own, leave braces in the pieces: then the text is not the same again.
    differs: (_read, text) =>
      `('{' || array_to_string(list_transform(${pieces(text)}, lambda piece: case when piece = 'NULL' or` +
      ` starts_with(piece, '"') then piece when contains(piece, '{') or contains(piece, '}') then '{}{' else piece end), ',') || '}'` +
      ` is distinct from ${text}${element === null ? '' : elementDiffers(element, parts(text))})`,
    lacks: 'more than one dimension, bounds of its own, or an element without an equal',
  };
}

function elementDiffers(element: Conversion, parts: string): string {
  const differs = element.differs(element.read('part'), 'part');
  return ` or len(list_filter(${parts}, lambda part: part is not null and ${differs})) > 0`;
}
