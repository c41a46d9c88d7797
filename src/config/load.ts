import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { LineCounter, parseDocument, type Document } from 'yaml';
import { DbopsError } from '../errors.ts';
import type { Environment } from './environment.ts';
import { nearest } from './nearest.ts';
import { fileSchema, type FileSettings } from './schema.ts';

/** A configuration file as it was read: its values, and where each stands. */
export interface LoadedFile {
  path: string;
  kind: 'given' | 'project' | 'user' | 'system';
  settings: FileSettings;
  /** The values as written, for `config show`. */
  raw: Record<string, unknown>;
}

interface Place {
  path: string;
  kind: LoadedFile['kind'];
}

/**
 * Reads every configuration file that applies: exactly the one given (--config, DBOPS_CONFIG), else the project's, the
 * user's and the system's, the nearer before the farther. Throws config_invalid with all errors of a file at once.
 */
export async function loadFiles(
  given: string | undefined,
  cwd: string,
  env: Environment,
): Promise<LoadedFile[]> {
  const files: LoadedFile[] = [];
  for (const place of places(given, cwd, env)) {
    let text: string;
    try {
      text = await readFile(place.path, 'utf8');
    } catch (cause) {
      if (place.kind !== 'given' && (cause as NodeJS.ErrnoException).code === 'ENOENT') continue;
      throw new DbopsError('config_not_found', `cannot read the configuration file ${place.path}`, {
        hint: 'Check the path given by --config or DBOPS_CONFIG, and that this user may read it.',
        detail: (cause as Error).message,
        cause,
      });
    }
    files.push({ ...place, ...parseFile(text, place.path, env) });
  }
  return files;
}

function places(given: string | undefined, cwd: string, env: Environment): Place[] {
  if (given !== undefined) return [{ path: given, kind: 'given' }];
  const userFolder = env['XDG_CONFIG_HOME'] ?? join(env['HOME'] ?? homedir(), '.config');
  return [
    { path: join(cwd, 'dbops.yaml'), kind: 'project' },
    { path: join(userFolder, 'dbops', 'dbops.yaml'), kind: 'user' },
    { path: '/etc/dbops/dbops.yaml', kind: 'system' },
  ];
}

type Path = (string | number)[];

interface Problem {
  path: Path;
  message: string;
}

/** Parses and checks one file. Exported for tests and for `config check`. */
export function parseFile(
  text: string,
  path: string,
  env: Environment,
): { settings: FileSettings; raw: Record<string, unknown> } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const list = document.errors.map((error) => {
      const { line, col } = lines.linePos(error.pos[0]);
      return `${path}:${String(line)}:${String(col)}: ${error.message}`;
    });
    throw invalid(path, list);
  }
  const problems: Problem[] = [];
  const raw: unknown = fill(document.toJS({ maxAliasCount: 100 }), [], env, problems) ?? {};
  const checked = fileSchema.safeParse(raw);
  if (!checked.success)
    problems.push(...checked.error.issues.flatMap((issue) => describeIssue(issue as Issue, raw)));
  else problems.push(...contradictions(checked.data));
  if (problems.length > 0 || !checked.success) {
    throw invalid(
      path,
      problems.map((problem) => `${locate(document, lines, path, problem.path)}: ${problem.message}`),
    );
  }
  return { settings: checked.data, raw: raw as Record<string, unknown> };
}

function invalid(path: string, list: string[]): DbopsError {
  const count = list.length === 1 ? '1 error' : `${String(list.length)} errors`;
  return new DbopsError('config_invalid', `the configuration file ${path} has ${count}`, {
    detail: list.join('\n'),
    hint: '"dbops config schema" prints what a file may hold, "dbops help config" shows an example.',
  });
}

/** Fills ${VAR} from the environment in every string; $${ stands for a literal ${. */
function fill(value: unknown, path: Path, env: Environment, problems: Problem[]): unknown {
  if (typeof value === 'string') {
    return value.replaceAll(/(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (whole, escape: string, name: string) => {
      if (escape !== '') return whole.slice(1);
      const text = env[name];
      if (text === undefined) problems.push({ path, message: `the environment variable ${name} is not set` });
      return text ?? '';
    });
  }
  if (Array.isArray(value)) return value.map((item, index) => fill(item, [...path, index], env, problems));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, fill(item, [...path, key], env, problems)]),
    );
  }
  return value;
}

/** The parts of zod's issues that the messages are made from. */
interface Issue {
  code: string;
  path: Path;
  message: string;
  keys?: string[];
  expected?: string;
  values?: unknown[];
  minimum?: number | bigint;
  maximum?: number | bigint;
  errors?: Issue[][];
}

function describeIssue(issue: Issue, raw: unknown): Problem[] {
  const { path } = issue;
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = knownKeys(path);
      return (issue.keys ?? []).map((key) => {
        const guess = nearest(key, known);
        const help = guess === undefined ? `known are ${known.join(', ')}` : `did you mean "${guess}"?`;
        return { path: [...path, key], message: `unknown key; ${help}` };
      });
    }
    case 'invalid_type': {
      const value = valueAt(raw, path);
      if (value === undefined) return [{ path, message: 'is missing' }];
      return [{ path, message: `must be ${typeName(issue.expected)}, not ${describeValue(value)}` }];
    }
    case 'invalid_value': {
      const values = (issue.values ?? []).map(String);
      const value = valueAt(raw, path);
      if (value === undefined) return [{ path, message: 'is missing' }];
      const guess = typeof value === 'string' ? nearest(value, values) : undefined;
      const help = guess === undefined ? '' : `; did you mean "${guess}"?`;
      return [{ path, message: `must be ${values.join(', ')}, not ${describeValue(value)}${help}` }];
    }
    case 'too_small':
      return [
        {
          path,
          message:
            issue.message.startsWith('Invalid') || issue.message.startsWith('Too')
              ? `must be at least ${String(issue.minimum)}`
              : issue.message,
        },
      ];
    case 'too_big':
      return [{ path, message: `must be at most ${String(issue.maximum)}` }];
    default: {
      const value = valueAt(raw, path);
      if (value === undefined) return [{ path, message: 'is missing' }];
      return [{ path, message: `${issue.message}, not ${describeValue(value)}` }];
    }
  }
}

function typeName(expected: string | undefined): string {
  if (expected === 'object' || expected === 'record') return 'a mapping';
  if (expected === 'array') return 'a list';
  if (expected === 'string') return 'text';
  return expected === 'int' ? 'a whole number' : `a ${expected ?? 'different value'}`;
}

function describeValue(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  return JSON.stringify(value);
}

function valueAt(root: unknown, path: Path): unknown {
  let value: unknown = root;
  for (const part of path) {
    if (value === null || typeof value !== 'object') return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

/** The keys that the schema knows at a path, found by walking it. */
function knownKeys(path: Path): string[] {
  let schema: unknown = fileSchema;
  for (const part of path) {
    schema = unwrap(schema);
    const def = (schema as { def?: { shape?: Record<string, unknown>; element?: unknown } }).def;
    schema = typeof part === 'number' ? def?.element : def?.shape?.[part];
  }
  const shape = (unwrap(schema) as { def?: { shape?: Record<string, unknown> } } | undefined)?.def?.shape;
  return Object.keys(shape ?? {});
}

function unwrap(schema: unknown): unknown {
  let current = schema as { def?: { innerType?: unknown } } | undefined;
  while (current?.def?.innerType !== undefined) current = current.def.innerType as typeof current;
  return current;
}

function locate(document: Document, lines: LineCounter, file: string, path: Path): string {
  for (let length = path.length; length > 0; length -= 1) {
    const position = positionOf(document, path.slice(0, length));
    if (position !== undefined) {
      return `${file}:${String(lines.linePos(position).line)}: ${pathText(path)}`;
    }
  }
  return `${file}: ${pathText(path)}`;
}

function positionOf(document: Document, path: Path): number | undefined {
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  const items = (
    parent as { items?: { key?: { value?: unknown; range?: number[] }; range?: number[] }[] } | null
  )?.items;
  const last = path.at(-1);
  const item = typeof last === 'number' ? items?.[last] : items?.find((pair) => pair.key?.value === last);
  return item?.key?.range?.[0] ?? item?.range?.[0];
}

/** partitions[2].retention.hot */
function pathText(path: Path): string {
  if (path.length === 0) return '(top level)';
  return path
    .map((part, index) => (typeof part === 'number' ? `[${String(part)}]` : index === 0 ? part : `.${part}`))
    .join('');
}

/** What the schema alone cannot see: values that contradict each other. */
function contradictions(settings: FileSettings): Problem[] {
  const problems: Problem[] = [];
  const seen = new Map<string, number>();
  for (const [index, item] of (settings.partitions ?? []).entries()) {
    const path: Path = ['partitions', index];
    const table = item.table.includes('.') ? item.table : `public.${item.table}`;
    const earlier = seen.get(table);
    if (earlier !== undefined) {
      problems.push({
        path: [...path, 'table'],
        message: `${table} stands in partitions[${String(earlier)}] already`,
      });
    }
    seen.set(table, index);
    if (typeof item.interval === 'number' && item.epoch !== undefined) {
      problems.push({
        path: [...path, 'epoch'],
        message: 'goes with a calendar interval, not with a number of ids',
      });
    }
    const { retention } = item;
    if (retention?.cold !== undefined && retention.then !== undefined) {
      problems.push({ path: [...path, 'retention'], message: 'cold and "then: delete" exclude each other' });
    }
    if (retention === undefined) continue;
    if (typeof item.interval === 'string' && typeof retention.hot === 'number') {
      problems.push({
        path: [...path, 'retention', 'hot'],
        message: 'must be a duration such as "90 days", not a number',
      });
    }
    if (typeof item.interval === 'number' && typeof retention.hot !== 'number') {
      problems.push({
        path: [...path, 'retention', 'hot'],
        message: 'must be a number of ids, since the interval is one',
      });
    }
    if (retention.cold !== undefined && typeof retention.hot !== 'number') {
      const days = (span: { months: number; seconds: number }) => span.months * 30.4 + span.seconds / 86_400;
      if (days(retention.cold) <= days(retention.hot)) {
        problems.push({
          path: [...path, 'retention', 'cold'],
          message: 'is the total age and must be longer than hot',
        });
      }
    }
  }
  return problems;
}
