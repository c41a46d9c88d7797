// The table with every built-in type goes to Parquet, from its own definition: every text column is COPY's text, exactly.
import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { storedColumns } from '../../../src/archive/definition/definition.ts';
import { loadDefinition } from '../../../src/archive/definition/load.ts';
import { openEngine } from '../../../src/archive/parquet/duckdb.ts';
import { makeParquet } from '../../../src/archive/parquet/make.ts';
import type { ManifestPart } from '../../../src/archive/manifest.ts';
import { connect } from '../../../src/pg/connection.ts';
import { ident } from '../../../src/sql/quote.ts';
import { copyToFile, pin, sharedDirectory } from '../../support/copied.ts';
import { createDatabase, openSession } from '../../support/database.ts';
import { createEveryType } from '../../support/every-type.ts';

it('writes a row for every row, and keeps as text exactly what it cannot say otherwise', async () => {
  const directory = sharedDirectory();
  const database = await createDatabase('every_parquet');
  const made = await createEveryType(database);
  const session = await openSession(database.url);
  await pin(session);
  const db = await connect({ url: database.url, connectTimeoutMs: 10_000, applicationName: 'test' });
  const table = `${ident(made.schema)}.${ident(made.name)}`;
  const [{ oid } = { oid: 0 }] = await session.query<{ oid: number }>('select $1::regclass::oid as oid', [
    table,
  ]);
  const definition = await loadDefinition(db, oid);
  const copiedColumns = storedColumns(definition);
  const file = path.join(directory, 'every.copy');
  const rows = await copyToFile(session, `select ${copiedColumns.map(ident).join(', ')} from ${table}`, file);
  const part = { name: 'part-00000.copy.zst', rows, plainBytes: fs.statSync(file).size } as ManifestPart;
  const { files, columns } = await makeParquet({
    archive: { copiedColumns, definition, parts: [part] },
    openPart: () => Promise.resolve(file),
    zstd: '',
    workDirectory: path.join(directory, 'work'),
  });
  expect(files).toMatchObject([{ name: 'parquet/part-00000.parquet', rows }]);
  expect(columns.map((column) => column.name)).toEqual(copiedColumns);
  const named = (type: string) => columns.filter((column) => column.type === type);
  expect(named('zoo.mood')[0]?.why).toBe('its labels are ordered otherwise than by alphabet');
  const engine = await openEngine();
  for (const column of columns.filter((item) => item.parquetType === 'BYTE_ARRAY (STRING)')) {
    const quoted = `"${column.parquetName.replaceAll('"', '""')}"`;
    const found = await engine.rows(
      `select md5(coalesce(string_agg(coalesce(md5(${quoted}), 'null'), ',' order by coalesce(md5(${quoted}), 'null')), '')) from read_parquet('${files[0]!.path}')`,
    );
    const text = `case when num_nulls(${ident(column.name)}) = 0 then format('%s', ${ident(column.name)}) end`;
    const [expected] = await session.query<{ hash: string }>(
      `select md5(coalesce(string_agg(coalesce(md5(${text}), 'null'), ',' order by coalesce(md5(${text}), 'null') collate "C"), '')) as hash from ${table}`,
    );
    expect({ column: column.name, hash: found[0]![0] }).toEqual({
      column: column.name,
      hash: expected!.hash,
    });
  }
  engine.close();
  await db.close();
  await session.end();
  await database.drop();
});
