import type { LoadedFile } from './load.ts';
import type { Picker } from './picker.ts';
import type { FileOwnCheck } from './schema-health.ts';

/** Bounds as written; the unit of the check says how they are read. */
export interface WrittenBounds {
  warn?: number | string | undefined;
  /** "never" keeps it a warning. */
  crit?: number | string | undefined;
}

/** Thresholds of one check, as written. */
export interface WrittenThresholds extends WrittenBounds {
  /** By name or pattern. */
  objects: Record<string, WrittenBounds & { ignore?: boolean | undefined }>;
}

export interface HealthSettings {
  /** Checks or groups. */
  skip: string[];
  /** By check. */
  thresholds: Record<string, WrittenThresholds>;
  /** The operator's own, by name. */
  checks: Record<string, FileOwnCheck>;
}

/** The section of the nearest file that has one. Names of checks and what bounds mean are checked by health/. */
export function healthSettings(picker: Picker, files: LoadedFile[]): HealthSettings {
  const file = files.find((item) => item.settings.health !== undefined);
  const written = file?.settings.health;
  const note = (path: string, value: unknown) =>
    picker.pick(path, [{ value, source: `${file?.path ?? ''} (${file?.kind ?? ''} file)` }]);
  note('health.skip', written?.skip);
  const thresholds = Object.entries(written?.thresholds ?? {}).map(([name, value]) => {
    note(`health.thresholds.${name}`, value);
    return [name, { ...value, objects: value.objects ?? {} }] as const;
  });
  for (const [name, check] of Object.entries(written?.checks ?? {})) note(`health.checks.${name}`, check.sql);
  return {
    skip: written?.skip ?? [],
    thresholds: Object.fromEntries(thresholds),
    checks: written?.checks ?? {},
  };
}
