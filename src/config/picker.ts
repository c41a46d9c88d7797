import { formatDuration, type Duration } from './duration.ts';
import type { Environment } from './environment.ts';
import type { LoadedFile } from './load.ts';
import { mask } from './mask.ts';
import type { FileSettings } from './schema.ts';

/** Where a value came from, for `config show`; secrets are masked. */
export interface Origin {
  path: string;
  value: string;
  source: string;
}

/** A value that may be chosen, and where it would come from. */
export interface Candidate {
  value: unknown;
  source: string;
}

/** Collects values and where each came from. */
export class Picker {
  readonly origins: Origin[] = [];
  readonly #files: LoadedFile[];
  readonly #env: Environment;

  constructor(files: LoadedFile[], env: Environment) {
    this.#files = files;
    this.#env = env;
  }

  /** The first candidate that has a value; its origin is kept. */
  pick(path: string, candidates: Candidate[], secret = false): unknown {
    const chosen = candidates.find((candidate) => candidate.value !== undefined && candidate.value !== '');
    if (chosen === undefined) return undefined;
    const value = secret ? mask(String(chosen.value)) : display(chosen.value);
    this.origins.push({ path, value, source: chosen.source });
    return chosen.value;
  }

  fromFiles(read: (file: FileSettings) => unknown): Candidate[] {
    return this.#files.map((file) => ({
      value: read(file.settings),
      source: `${file.path} (${file.kind} file)`,
    }));
  }

  fromEnv(name: string): Candidate {
    return { value: this.#env[name], source: `environment ${name}` };
  }
}

/** A value for people: durations as they are written, a list by its length. */
function display(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `${String(value.length)} ${value.length === 1 ? 'entry' : 'entries'}`;
  if (typeof value === 'object' && value !== null && 'months' in value)
    return formatDuration(value as Duration);
  return JSON.stringify(value);
}
