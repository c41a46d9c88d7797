// PostgreSQL 17 with all its programs, for what older servers cannot do: incremental base backups.
import { findPostgres17 } from '../../scripts/lib/postgres17.mjs';

/** Why there is none here; undefined where there is one. Tests skip with it: `context.skip(reason)`. */
export function whyNoPostgres17(): string | undefined {
  const found = findPostgres17();
  return 'missing' in found ? found.missing : undefined;
}

/** The directory of its programs. Throws where there is none. */
export function postgres17Directory(): string {
  const found = findPostgres17();
  if ('missing' in found) throw new Error(found.missing);
  return found.dir;
}
