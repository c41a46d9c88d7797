import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { firstWord, numberParameters, splitStatements } from '../../../src/partition/prune/split.ts';

const texts = (sql: string) => splitStatements(sql).map((statement) => statement.sql);

describe('splitStatements', () => {
  it.each([
    ['select 1; select 2', ['select 1', 'select 2']],
    ["select ';' ; select 'it''s; fine'", ["select ';'", "select 'it''s; fine'"]],
    ["select E'a\\';b'; select 'a\\'; select 3", ["select E'a\\';b'", "select 'a\\'", 'select 3']],
    ['select "a;b""c;" from t; select 2', ['select "a;b""c;" from t', 'select 2']],
    ['select $$a;b$$; select $x$a;$$;$x$', ['select $$a;b$$', 'select $x$a;$$;$x$']],
    ['select a$b$c; select 1', ['select a$b$c', 'select 1']],
    ['select $1; select $2', ['select $1', 'select $2']],
    ['select 1 -- no; end\n; select 2', ['select 1 -- no; end', 'select 2']],
    ['select /* a /* nested; */ b; */ 1; select 2', ['select /* a /* nested; */ b; */ 1', 'select 2']],
    ['\\timing on\nselect 1;\n\\echo a;b\nselect 2;', ['select 1', 'select 2']],
    [';;  ; -- nothing\n;', []],
    ["select 'open; to the end", ["select 'open; to the end"]],
  ])('%s', (sql, expected) => {
    expect(texts(sql)).toEqual(expected);
  });

  it('knows the line of each statement', () => {
    const found = splitStatements('-- head\n\nselect 1;\n\n  select\n 2;\r\nselect 3');
    expect(found.map((statement) => statement.line)).toEqual([1, 5, 7]);
  });

  it('finds as many statements as were joined, whatever stands in their quotes', () => {
    const inside = fc.string({ unit: fc.constantFrom(';', '-', '/', '*', '"', '$', 'a', ' ', '\n', '한') });
    fc.assert(
      fc.property(fc.array(inside, { minLength: 1, maxLength: 5 }), (list) => {
        const statements = list.map((text) => `select '${text}', $q_$${text.replaceAll('$', '')}$q_$`);
        expect(texts(statements.join(';\n'))).toEqual(statements);
      }),
    );
  });
});

describe('numberParameters', () => {
  it.each([
    ['a = :id and b = :name and c = :id', 'a = $1 and b = $2 and c = $1'],
    ["a = 'x:id'::text and b[1:2] = :b", "a = 'x:id'::text and b[1:2] = $1"],
    ['a = $2 and b = :b', 'a = $2 and b = $3'],
    ['a = ? and b in (?, ?)', 'a = $1 and b in ($2, $3)'],
    ["j ? 'key'", "j ? 'key'"],
    ['a = %s and b = %(b)s', 'a = $2 and b = $1'],
    ['a >= now() - interval $1', 'a >= now() - $1::interval'],
  ])('%s', (sql, expected) => {
    expect(numberParameters(sql)).toBe(expected);
  });
});

it('firstWord looks behind comments and parentheses', () => {
  expect(firstWord('/* app */ -- x\n (SELECT 1)')).toBe('select');
});
