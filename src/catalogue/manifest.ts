import { DbopsError } from '../errors.ts';

/** What a manifest is of, for the check of its version and for the words when it is damaged. */
export interface ManifestSort<Manifest> {
  noun: 'archive' | 'backup';
  /** The newest format version that this dbops reads. */
  version: number;
  /** What the object without its manifest still has: "parts", "files". */
  contents: string;
  /** Checks the parsed JSON against the schema. */
  check: (
    value: unknown,
  ) =>
    | { success: true; data: Manifest }
    | { success: false; error: { issues: { path: PropertyKey[]; message: string }[] } };
}

/** Reads a manifest. Throws copy_damaged, or unsupported_version for one of a newer dbops. `place` is for the message. */
export function readManifest<Manifest>(sort: ManifestSort<Manifest>, json: string, place: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw damagedManifest(sort, place, (cause as Error).message, cause);
  }
  const version = (value as { formatVersion?: unknown } | null)?.formatVersion;
  if (typeof version === 'number' && version > sort.version) {
    throw new DbopsError(
      'unsupported_version',
      `${place} has format version ${String(version)}; this dbops reads ${String(sort.version)}`,
      {
        hint: `Use the dbops that wrote it, or a newer one. docs/${sort.noun}-format.md tells how to ${sort.noun === 'archive' ? 'read it' : 'restore'} by hand.`,
      },
    );
  }
  const parsed = sort.check(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw damagedManifest(sort, place, issues.slice(0, 5).join('\n'), parsed.error);
}

/** A manifest that is none. */
export function damagedManifest(
  { noun, contents }: Pick<ManifestSort<unknown>, 'noun' | 'contents'>,
  place: string,
  detail: string,
  cause?: unknown,
): DbopsError {
  return new DbopsError('copy_damaged', `${place} is not a manifest that can be read`, {
    detail,
    hint: `The ${contents} beside it may be whole: docs/${noun}-format.md tells how to ${noun === 'archive' ? 'read' : 'restore'} them by hand. "dbops ${noun} verify" says which copies are good.`,
    cause,
  });
}
