// Types of PostgreSQL with values at their edges, and what Parquet is to make of each.

export interface TypeCase {
  type: string;
  /** SQL expressions of that type. */
  values: string[];
  /** Kept as text although it is no text. */
  isLost?: boolean;
  /** For the document; the type itself when it is left out. */
  label?: string;
}

const text = (values: string[]) => values.map((value) => `E'${value}'`);

const manyDigits = '9'.repeat(500);

/** Values that survive, and types that never do. */
export const ordinaryCases: TypeCase[] = [
  { type: 'smallint', values: ['-32768', '32767', '0'] },
  { type: 'integer', values: ['-2147483648', '2147483647', '0'] },
  { type: 'bigint', values: ["'-9223372036854775808'", '9223372036854775807', '9007199254740993'] },
  { type: 'oid', values: ['0', '4294967295'] },
  {
    type: 'real',
    values: ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", '1.1', "'1e-45'", "'3.4028235e38'", '0.30000001'],
  },
  {
    type: 'double precision',
    values: [
      "'NaN'",
      "'Infinity'",
      "'-Infinity'",
      "'-0'",
      "'0.1'",
      "'0.30000000000000004'",
      "'5e-324'",
      "'1.7976931348623157e308'",
      "'1e20'",
      "'123456789012345678'",
    ],
  },
  { type: 'numeric(12,2)', values: ['1.50', '-9999999999.99', '0', '0.01'] },
  { type: 'numeric(38,10)', values: ["'-9999999999999999999999999999.9999999999'", '0.0000000001'] },
  { type: 'numeric(5,0)', values: ['99999', '-1'] },
  { type: 'numeric', values: ['1.0', '1.00', "'NaN'", `'${manyDigits}.${manyDigits}'`, '0'], isLost: true },
  { type: 'numeric(100,2)', values: [`'${'9'.repeat(98)}.99'`], isLost: true },
  { type: 'boolean', values: ['true', 'false'] },
  { type: 'date', values: ["'2024-02-29'", "'0001-01-01'", "'12024-01-01'", "'1582-10-10'"] },
  {
    type: 'timestamp without time zone',
    values: ["'2024-02-29 12:34:56.789'", "'0001-01-01'", "'1969-12-31 23:59:59.999999'", "'12024-01-01'"],
  },
  { type: 'timestamp(3) with time zone', values: ["'2024-02-29 12:34:56.789+09'"] },
  {
    type: 'timestamp with time zone',
    values: [
      "'2024-02-29 12:34:56.789+09'",
      "'0001-01-01+00'",
      "'1969-12-31 23:59:59.999999+00'",
      "'12024-01-01+00'",
      "'1899-12-31 00:00:00+00'",
    ],
  },
  { type: 'time without time zone', values: ["'00:00'", "'23:59:59.999999'", "'12:00:00.5'"] },
  { type: 'time with time zone', values: ["'12:00+05:30'", "'24:00:00-15:59'"], isLost: true },
  {
    type: 'interval',
    values: ["'1 mon'", "'30 days'", "'-1 year +3 days -04:05:06.000007'", "'178000000 years'", "'0'"],
    isLost: true,
  },
  {
    type: 'uuid',
    values: [
      "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
      "'00000000-0000-0000-0000-000000000000'",
      "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
    ],
  },
  { type: 'bytea', values: ["'\\x'", "'\\x00ff5c0a09'", "convert_to(E'a\\\\b\\n', 'UTF8')"] },
  {
    type: 'text',
    values: text([
      '',
      'a',
      '\\\\N',
      '\\\\.',
      'line\\nline\\r\\n',
      'tab\\t',
      '\\b\\f\\v',
      'back\\\\slash\\\\n',
      '\\\\\\\\n',
      '"quoted" and \\\'',
      'ümlaut 한국 \\U0001F600',
      '\\x01\\x7f',
      ' blanks ',
      '#',
      'null',
      'NULL',
      'a,b;c',
      '\\u2028',
      '\\u0085',
    ]),
  },
  { type: 'character varying(20)', values: text(['', 'a\\\\b']) },
  { type: 'character(5)', values: text(['', 'ab', 'abcde']) },
  { type: '"char"', values: ["'x'", "''"] },
  { type: 'name', values: ["'pg_class'"] },
  {
    type: 'json',
    values: [
      '\'{ "b": 1,  "a": [1.0, 1.00, null] , "a":2}\'',
      '\'"x"\'',
      "'null'",
      "'12345678901234567890.1234567890'",
      '\'{"n":"line\\nx\\\\y\\u0041"}\'',
      "'  [ ] '",
    ],
  },
  {
    type: 'jsonb',
    values: [
      '\'{"b": 1, "a": [1.0, 1.00, null]}\'',
      '\'"\\u00fc 한"\'',
      "'1e400'",
      `'${manyDigits}'`,
      '\'{"q":"a\\"b\\\\c\\td"}\'',
    ],
  },
  { type: 'integer[]', values: ["'{}'", "'{1,-2,NULL}'"] },
  { type: 'bigint[]', values: ["'{9223372036854775807,NULL}'"] },
  { type: 'double precision[]', values: ["'{NaN,-Infinity,0.1,NULL}'"] },
  { type: 'numeric(10,2)[]', values: ["'{1.00,NULL,-0.01}'"] },
  { type: 'boolean[]', values: ["'{t,f,NULL}'"] },
  { type: 'uuid[]', values: ["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"] },
  { type: 'date[]', values: ["'{2024-02-29,NULL}'"] },
  {
    type: 'timestamp with time zone[]',
    values: ["array['2024-02-29 12:00+00'::timestamptz, null, '2024-01-01 00:00:00.25+00']"],
  },
  {
    type: 'text[]',
    values: [
      "'{}'",
      "array['', null, 'NULL', 'null', 'a,b', 'q\"x', 'b\\s', E'n\\nx', 'it''s', '{x}', ' y ', '한']",
      "array['x']",
    ],
  },
  { type: 'bytea[]', values: ["array['\\x00ff'::bytea]"], isLost: true },
  { type: 'jsonb[]', values: ['array[\'{"a":"b"}\'::jsonb]'], isLost: true },
  { type: 'interval[]', values: ["array['1 mon'::interval]"], isLost: true },
  { type: 'public.mood', label: 'an enum', values: ["'sad'", '\'happy, "so"\''], isLost: true },
  {
    type: 'public.mood[]',
    label: 'an array of an enum',
    values: ["array['sad'::public.mood]"],
    isLost: true,
  },
  { type: 'public.price', label: 'a domain over numeric(12,2)', values: ['1.50'] },
  { type: 'public.place', label: 'a composite type', values: ["row(1, 'a\"b')"], isLost: true },
  { type: 'int4range', values: ["'[1,5)'", "'empty'"], isLost: true },
  { type: 'tstzmultirange', values: ["'{[2024-01-01 00:00+00,)}'"], isLost: true },
  { type: 'inet', values: ["'10.0.0.1/8'", "'::1'"], isLost: true },
  { type: 'cidr', values: ["'10.0.0.0/8'"], isLost: true },
  { type: 'macaddr', values: ["'08:00:2b:01:02:03'"], isLost: true },
  { type: 'bit(5)', values: ["b'10101'"], isLost: true },
  { type: 'bit varying', values: ["b''", "b'1'"], isLost: true },
  { type: 'xml', values: ["'<a>b\\c</a>'::xml"], isLost: true },
  { type: 'tsvector', values: ["to_tsvector('simple', 'it''s a ''test'' \\ x')"], isLost: true },
  { type: 'tsquery', values: ["'a & b'::tsquery"], isLost: true },
  { type: 'money', values: ["'-1.50'::text::money"], isLost: true },
  { type: 'point', values: ["'(1.5,-0)'"], isLost: true },
  { type: 'polygon', values: ["'((0,0),(1,1),(1,0))'"], isLost: true },
  { type: 'pg_lsn', values: ["'16/B374D848'"], isLost: true },
  { type: 'jsonpath', values: ["'$.a[*] ? (@ > 1)'"], isLost: true },
];

/** Types that survive as a rule, with a value that does not: then the column is text, as a whole and exact. */
export const edgeCases: TypeCase[] = [
  { type: 'numeric(5,1)', values: ["'NaN'", '1.5'], isLost: true },
  { type: 'date', values: ["'infinity'", "'2024-01-01'"], isLost: true },
  { type: 'date', values: ["'0044-03-15 BC'", "'2024-01-01'"], isLost: true },
  { type: 'date', values: ["'5874897-12-31'", "'2024-01-01'"] },
  { type: 'timestamp without time zone', values: ["'-infinity'", "'2024-01-01'"], isLost: true },
  { type: 'timestamp without time zone', values: ["'294276-12-31 23:59:59.999999'"], isLost: true },
  { type: 'timestamp with time zone', values: ["'infinity'", "'2024-01-01+00'"], isLost: true },
  { type: 'timestamp with time zone', values: ["'0044-03-15 00:00+00 BC'"], isLost: true },
  { type: 'time without time zone', values: ["'24:00'", "'12:00'"], isLost: true },
  { type: 'json', values: ['\'"\\ud800"\'', "'1'"], isLost: true },
  { type: 'integer[]', values: ["'{{1,2},{3,4}}'", "'{1}'"], isLost: true },
  { type: 'integer[]', values: ["'[0:1]={1,2}'"], isLost: true },
  { type: 'text[]', values: ["'[2:2]={x}'", "'{a}'"], isLost: true },
  { type: 'date[]', values: ["'{infinity}'"], isLost: true },
  { type: 'timestamp with time zone[]', values: ["'{infinity}'"], isLost: true },
];
