import { durationMs } from './duration.ts';
import { parseSize } from './size.ts';
import type { LoadedFile } from './load.ts';
import type { Picker } from './picker.ts';

/** A materialized view that is kept fresh. */
export interface RefreshSettings {
  /** schema.view as written. */
  view: string;
  everyMs: number;
}

/** When an index is rebuilt for the air in it. */
export interface ReindexSettings {
  bloatBytes: number;
  /** Between 0 and 1. */
  bloatShare: number;
  skip: string[];
}

/** As the health check of indexes has it. */
const defaultBloat = { bytes: 100 * 2 ** 20, percent: 50 };

export interface MaintenanceSettings {
  /** HH:MM at which a run ends, in the time zone of the defaults. */
  until: string | undefined;
  jobs: number;
  /** Tables or patterns that are never chosen. */
  skip: string[];
  reindex: ReindexSettings;
  refresh: RefreshSettings[];
  /** Storage parameters by table, as written. */
  autovacuum: Record<string, Record<string, string>>;
}

/** The section of the nearest file that has one. */
export function maintenanceSettings(picker: Picker, files: LoadedFile[]): MaintenanceSettings {
  const file = files.find((item) => item.settings.maintenance !== undefined);
  const written = file?.settings.maintenance;
  const note = (path: string, value: unknown) =>
    picker.pick(`maintenance.${path}`, [{ value, source: `${file?.path ?? ''} (${file?.kind ?? ''} file)` }]);
  note('until', written?.until);
  note('jobs', written?.jobs);
  note('vacuum.skip', written?.vacuum?.skip);
  for (const key of ['bloatSize', 'bloatShare', 'skip'] as const)
    note(`reindex.${key}`, written?.reindex?.[key]);
  for (const { view, every } of written?.refresh ?? []) note(`refresh.${view}`, every);
  for (const [table, parameters] of Object.entries(written?.autovacuum ?? {}))
    note(`autovacuum.${table}`, parameters);
  return {
    until: written?.until,
    jobs: written?.jobs ?? 1,
    skip: written?.vacuum?.skip ?? [],
    reindex: {
      bloatBytes: parseSize(written?.reindex?.bloatSize ?? '') ?? defaultBloat.bytes,
      bloatShare: (written?.reindex?.bloatShare ?? defaultBloat.percent) / 100,
      skip: written?.reindex?.skip ?? [],
    },
    refresh: (written?.refresh ?? []).map(({ view, every }) => ({ view, everyMs: durationMs(every) })),
    autovacuum: Object.fromEntries(
      Object.entries(written?.autovacuum ?? {}).map(([table, parameters]) => [
        table,
        Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, String(value)])),
      ]),
    ),
  };
}
