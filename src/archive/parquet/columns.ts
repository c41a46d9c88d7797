import { duckIdent } from './duckdb.ts';
import { rawColumn, unescaped } from './copy-text.ts';
import { planType, textParquetType, type Conversion, type TypePlan } from './types.ts';

/** A column of the parts, in their order. */
export interface SourceColumn {
  name: string;
  /** format_type(), with every name qualified. */
  type: string;
  /** The type below a domain. */
  base?: string | undefined;
  isEnum?: boolean | undefined;
}

/** What became of a column, as the manifest tells it. */
export interface ParquetColumn {
  name: string;
  /** Its name in the files: another one where two names differ in case only, which most readers cannot tell apart. */
  parquetName: string;
  type: string;
  parquetType: string;
  survives: boolean;
  /** Empty where it survives. */
  why: string;
}

/** A column on its way: what is planned, and what was met. */
export interface PlannedColumn {
  source: SourceColumn;
  parquetName: string;
  plan: TypePlan;
  /** Set once a value was met that has no equal: then the whole column is kept as text. */
  misfits: bigint;
}

/** Plans the columns, all of them as their types allow. */
export function planColumns(sources: SourceColumn[]): PlannedColumn[] {
  const taken = new Set<string>();
  return sources.map((source) => ({
    source,
    parquetName: freeName(source.name, taken),
    plan: planType(source.type, source),
    misfits: 0n,
  }));
}

function freeName(name: string, taken: Set<string>): string {
  let free = name;
  for (let number = 2; taken.has(free.toLowerCase()); number += 1) free = `${name}_${String(number)}`;
  taken.add(free.toLowerCase());
  return free;
}

/** Begins what error() says of a value that has no equal; the number of the column follows. */
const misfitMark = 'dbops: no equal in column ';

/**
 * The select that writes all columns. It fails, naming the column, where a value would not be the same. Each step is a
 * select of its own: DuckDB computes the same expression twice where it stands in two branches of a case.
 */
export function writtenSelect(columns: PlannedColumn[], reader: string): string {
  const list = columns.map((column, index) => {
    const misfit = `error('${misfitMark}${String(index)}')`;
    const value =
      conversionOf(column) === null
        ? readName(index)
        : `case when ${differs(column, index)} then ${misfit} else ${readName(index)} end`;
    return `${value} as ${duckIdent(column.parquetName)}`;
  });
  return `select ${list.join(', ')} from ${stepsBefore(columns, reader)}`;
}

/** The select that counts, for every column, the values that have no equal. */
export function misfitSelect(columns: PlannedColumn[], reader: string): string {
  const list = columns.map((column, index) =>
    conversionOf(column) === null ? 'cast(0 as bigint)' : `count(*) filter (where ${differs(column, index)})`,
  );
  return `select ${list.join(', ')} from ${stepsBefore(columns, reader)}`;
}

/** The texts without escapes, and what is read of them. */
function stepsBefore(columns: PlannedColumn[], reader: string): string {
  const texts = columns.map((column, index) => {
    const conversion = conversionOf(column);
    const raw = rawColumn(index);
    return `${conversion?.mayEscape === false ? raw : unescaped(raw)} as ${textName(index)}`;
  });
  const reads = columns.map((column, index) => {
    const text = textName(index);
    return `${text}, ${conversionOf(column)?.read(text) ?? text} as ${readName(index)}`;
  });
  return `(select ${reads.join(', ')} from (select ${texts.join(', ')} from ${reader}))`;
}

function textName(index: number): string {
  return `t${String(index)}`;
}

function readName(index: number): string {
  return `r${String(index)}`;
}

function differs(column: PlannedColumn, index: number): string {
  const text = textName(index);
  return `${text} is not null and ${conversionOf(column)?.differs(readName(index), text) ?? 'false'}`;
}

export function isMisfit(words: string): boolean {
  return words.includes(misfitMark);
}

function conversionOf(column: PlannedColumn): Conversion | null {
  return column.misfits > 0n ? null : column.plan.conversion;
}

/** What is told of a column when all is written. */
export function describeColumn(column: PlannedColumn): ParquetColumn {
  const { source, parquetName, plan, misfits } = column;
  const conversion = conversionOf(column);
  const lost = misfits > 0n ? `${String(misfits)} values are ${plan.conversion?.lacks ?? ''}` : plan.why;
  return {
    name: source.name,
    parquetName,
    type: source.type,
    parquetType: conversion?.parquetType ?? textParquetType,
    survives: conversion !== null || plan.isText,
    why: misfits === 1n ? lost.replace('1 values are', '1 value is') : lost,
  };
}
