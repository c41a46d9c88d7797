import { nearest } from './nearest.ts';
import { fileSchema } from './schema.ts';

export type Path = (string | number)[];

/** One thing that is wrong in a file, and where. */
export interface Problem {
  path: Path;
  message: string;
}

/** The parts of zod's issues that the messages are made from. */
export interface Issue {
  code: string;
  path: Path;
  message: string;
  keys?: string[];
  expected?: string;
  values?: unknown[];
  minimum?: number | bigint;
  maximum?: number | bigint;
}

/** What zod found, in words for people: the value as it was written, and the nearest name that would be right. */
export function describeIssue(issue: Issue, written: unknown): Problem[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') return (issue.keys ?? []).map((key) => unknownKey(path, key));
  const value = valueAt(written, path);
  if (value === undefined) return [{ path, message: 'is missing' }];
  const shown = describeValue(value, path);
  switch (issue.code) {
    case 'invalid_type':
      return [{ path, message: `must be ${typeName(issue.expected)}, not ${shown}` }];
    case 'invalid_value': {
      const values = (issue.values ?? []).map(String);
      return [{ path, message: `must be ${either(values)}, not ${shown}${didYouMean(value, values)}` }];
    }
    case 'too_small':
      return [
        {
          path,
          message: isOwnMessage(issue)
            ? issue.message
            : `must be at least ${String(issue.minimum)}, not ${shown}`,
        },
      ];
    case 'too_big':
      return [{ path, message: `must be at most ${String(issue.maximum)}, not ${shown}` }];
    default: {
      const message = isOwnMessage(issue) ? issue.message : 'must be text, a number, true or false';
      const values = path.at(-1) === 'interval' ? ['hour', 'day', 'week', 'month', 'quarter', 'year'] : [];
      return [{ path, message: `${message}, not ${shown}${didYouMean(value, values)}` }];
    }
  }
}

function unknownKey(path: Path, key: string): Problem {
  const known = knownKeys(path);
  const guess = nearest(key, known);
  const help = guess === undefined ? `known are ${known.join(', ')}` : `did you mean "${guess}"?`;
  return { path: [...path, key], message: `unknown key; ${help}` };
}

/** zod without a language says "Invalid input" and no more. */
function isOwnMessage(issue: Issue): boolean {
  return !/^(Invalid|Too)/.test(issue.message);
}

function either(values: string[]): string {
  return values.length < 2 ? values.join('') : `${values.slice(0, -1).join(', ')} or ${values.at(-1) ?? ''}`;
}

function didYouMean(value: unknown, values: string[]): string {
  const guess = typeof value === 'string' ? nearest(value, values) : undefined;
  return guess === undefined ? '' : `; did you mean "${guess}"?`;
}

function typeName(expected: string | undefined): string {
  if (expected === 'object' || expected === 'record') return 'a mapping';
  if (expected === 'array') return 'a list';
  if (expected === 'string') return 'text';
  return expected === 'int' ? 'a whole number' : `a ${expected ?? 'different value'}`;
}

/** The value for a message. A connection may hold a password, wherever it was put by mistake: it is not shown. */
function describeValue(value: unknown, path: Path): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value !== 'string') return JSON.stringify(value);
  if (path[0] === 'connection' || path.length === 0 || value.includes('://')) return 'this text';
  return JSON.stringify(value);
}

export function valueAt(root: unknown, path: Path): unknown {
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

/** partitions[2].retention.hot */
export function pathText(path: Path): string {
  if (path.length === 0) return '(top level)';
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${String(part)}]`;
      const shown = /^[\w-]+$/.test(part) ? part : JSON.stringify(part);
      return index === 0 ? shown : `.${shown}`;
    })
    .join('');
}
