import type { LoadedFile } from './load.ts';
import type { Picker } from './picker.ts';
import type { FileIndex } from './schema-indexes.ts';
import { splitTable } from './table-name.ts';

/** An index that is wanted. Whether its columns are there, indexes/ knows. */
export interface WantedIndex {
  table: { schema: string; name: string };
  columns: string[];
  include: string[];
  unique: boolean;
  where: string | undefined;
  method: string;
  name: string | undefined;
}

/** The list of the nearest file that has one. */
export function indexSettings(picker: Picker, files: LoadedFile[]): WantedIndex[] {
  const file = files.find((item) => item.settings.indexes !== undefined);
  const written = picker.pick('indexes', [
    { value: file?.settings.indexes, source: `${file?.path ?? ''} (${file?.kind ?? ''} file)` },
  ]) as FileIndex[] | undefined;
  return (written ?? []).map((item) => ({
    table: splitTable(item.table),
    columns: item.columns,
    include: item.include ?? [],
    unique: item.unique ?? false,
    where: item.where,
    method: item.method ?? 'btree',
    name: item.name,
  }));
}
