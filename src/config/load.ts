import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Document } from 'yaml';
import { DbopsError } from '../errors.ts';
import { contradictions } from './contradictions.ts';
import type { Environment } from './environment.ts';
import { describeIssue, pathText, valueAt, type Issue, type Path, type Problem } from './issues.ts';
import { scheduleProblems } from './schedule.ts';
import { fileSchema, type FileSettings } from './schema.ts';
import { copiesProblems } from './store-problems.ts';

/** A configuration file as it was read: its values, and where each stands. */
export interface LoadedFile {
  path: string;
  kind: 'given' | 'project' | 'user' | 'system';
  settings: FileSettings;
  /** Of the environment, that it fills in. */
  variables: string[];
  /** "dbops.yaml:12: partitions[2].naming", for messages about a value that was read well but makes no sense. */
  locate: (path: Path) => string;
}

interface Place {
  path: string;
  kind: LoadedFile['kind'];
}

/**
 * Reads every configuration file that applies: exactly the one given (--config, DBOPS_CONFIG), else the project's, the
 * user's and the system's, the nearer before the farther. Throws config_invalid with all errors of all files at once,
 * and config_not_found for a file that cannot be read.
 */
export async function loadFiles(
  given: string | undefined,
  cwd: string,
  env: Environment,
): Promise<LoadedFile[]> {
  const files: LoadedFile[] = [];
  const invalid: InvalidFile[] = [];
  for (const place of places(given, cwd, env)) {
    const text = await readPlace(place, cwd);
    if (text === undefined) continue;
    const { problems, ...parsed } = checkFile(text, place.path, env);
    if (problems.length > 0) invalid.push({ path: place.path, problems });
    else files.push({ ...place, ...parsed });
  }
  if (invalid.length === 0) invalid.push(...foreignStores(files));
  if (invalid.length > 0) throw invalidFiles(invalid);
  return files;
}

/** The stores are those of the nearest file that has any; the other files may name only these. */
function foreignStores(files: LoadedFile[]): InvalidFile[] {
  const owner = files.find((file) => file.settings.stores !== undefined);
  return files
    .filter((file) => file !== owner)
    .map((file) => ({
      path: file.path,
      problems: copiesProblems(file.settings, Object.keys(owner?.settings.stores ?? {})).map(
        (problem) => `${file.locate(problem.path)}: ${problem.message}`,
      ),
    }))
    .filter((item) => item.problems.length > 0);
}

/** The places where a configuration is looked for, the nearest first. */
export function places(given: string | undefined, cwd: string, env: Environment): Place[] {
  if (given !== undefined) return [{ path: given, kind: 'given' }];
  // The XDG specification: an empty or relative path is as good as none.
  const xdg = env['XDG_CONFIG_HOME'];
  const home = env['HOME'] ?? homedir();
  const userFolder = xdg !== undefined && isAbsolute(xdg) ? xdg : join(home, '.config');
  return [
    { path: join(cwd, 'dbops.yaml'), kind: 'project' },
    { path: join(userFolder, 'dbops', 'dbops.yaml'), kind: 'user' },
    { path: '/etc/dbops/dbops.yaml', kind: 'system' },
  ];
}

async function readPlace(place: Place, cwd: string): Promise<string | undefined> {
  try {
    return await readFile(resolve(cwd, place.path), 'utf8');
  } catch (cause) {
    const { code = '', message } = cause as NodeJS.ErrnoException;
    if (place.kind !== 'given' && ['ENOENT', 'ENOTDIR'].includes(code)) return undefined;
    const reasons: Record<string, string> = {
      ENOENT: 'there is no such file',
      ENOTDIR: 'a part of its path is not a directory',
      EACCES: 'this user may not read it',
      EISDIR: 'it is a directory',
    };
    const where =
      place.kind === 'given'
        ? 'Check the path that --config or DBOPS_CONFIG gives.'
        : 'It is read because it lies where a configuration is looked for; --config names another file.';
    throw new DbopsError('config_not_found', `cannot read the configuration file ${place.path}`, {
      detail: reasons[code] ?? message,
      hint: where,
      cause,
    });
  }
}

interface InvalidFile {
  path: string;
  /** Lines that begin with the place. */
  problems: string[];
}

function invalidFiles(list: InvalidFile[]): DbopsError {
  const count = list.reduce((sum, item) => sum + item.problems.length, 0);
  const errors = count === 1 ? '1 error' : `${String(count)} errors`;
  const which =
    list.length === 1
      ? `the configuration file ${list[0]?.path ?? ''} has`
      : `${String(list.length)} configuration files have`;
  return new DbopsError('config_invalid', `${which} ${errors}`, {
    detail: list.flatMap((item) => item.problems).join('\n'),
    hint: '"dbops config schema" prints what a file may hold, "dbops help config" shows an example.',
  });
}

type Checked = Pick<LoadedFile, 'settings' | 'variables' | 'locate'> & { problems: string[] };

/** Parses and checks one file. Throws config_invalid with all its errors. */
export function parseFile(text: string, path: string, env: Environment): Omit<Checked, 'problems'> {
  const { problems, ...parsed } = checkFile(text, path, env);
  if (problems.length > 0) throw invalidFiles([{ path, problems }]);
  return parsed;
}

function checkFile(text: string, path: string, env: Environment): Checked {
  const lines = new LineCounter();
  // "<<: *anchor" is how people share settings between entries.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const locate = (place: Path) => locateIn(document, lines, path, place);
  const syntax = syntaxProblems(document, lines, text, path);
  const none = { settings: {}, variables: [], locate };
  if (syntax.length > 0) return { ...none, problems: syntax };
  let written: unknown;
  try {
    written = withoutEmptySections(document.toJS({ maxAliasCount: 100 }) ?? {});
  } catch (error) {
    return { ...none, problems: [`${path}: ${(error as Error).message}`] };
  }
  const problems: Problem[] = [];
  const variables = new Set<string>();
  const lookUp = (name: string) => {
    variables.add(name);
    return env[name];
  };
  const filled = fill(written, [], lookUp, problems);
  const unset = new Set(problems.map((problem) => pathText(problem.path)));
  const { settings, issues } = validate(filled, document);
  const found = [
    ...issues.flatMap((issue) => describeIssue(issue, written)),
    ...scheduleProblems((filled as { schedule?: unknown }).schedule),
    ...(settings === undefined || unset.size > 0 ? [] : contradictions(settings)),
  ];
  problems.push(...found.filter((problem) => !unset.has(pathText(problem.path))));
  return {
    settings: settings ?? {},
    variables: [...variables],
    locate,
    problems: inOrder(problems, document).map((problem) => `${locate(problem.path)}: ${problem.message}`),
  };
}

/** The first thing on each line that is no YAML: what follows it on the line is only its consequence. */
function syntaxProblems(document: Document, lines: LineCounter, text: string, path: string): string[] {
  const seen = new Set<number>();
  return [...document.errors, ...document.warnings].flatMap((error) => {
    const { line, col } = lines.linePos(error.pos[0]);
    if (seen.has(line)) return [];
    seen.add(line);
    return [`${path}:${String(line)}:${String(col)}: ${syntaxMessage(error, text)}`];
  });
}

function syntaxMessage(
  error: { code: string; message: string; pos: [number, number] },
  text: string,
): string {
  const { code, message, pos } = error;
  if (text.slice(pos[0] - 1, pos[0] + 1) === '${')
    return 'a variable within { } or [ ] needs quotes: "${NAME}"';
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here ("---"); a configuration is one';
  if (code === 'TAB_AS_INDENT') return 'a tab indents this line; YAML takes spaces only';
  return message.slice(0, 1).toLowerCase() + message.slice(1);
}

/** "partitions:" with every entry commented out is an empty list, not an error. */
function withoutEmptySections(root: unknown): unknown {
  if (root === null || typeof root !== 'object' || Array.isArray(root)) return root;
  return Object.fromEntries(Object.entries(root).filter(([, value]) => value !== null));
}

/**
 * Checks against the schema. A variable is text, but "port: ${PORT}" means a number: where a number is wanted and an
 * unquoted ${VAR} stands alone, its digits are one.
 */
function validate(
  filled: unknown,
  document: Document,
): { settings: FileSettings | undefined; issues: Issue[] } {
  const first = fileSchema.safeParse(filled);
  if (first.success) return { settings: first.data, issues: [] };
  const issues = first.error.issues as Issue[];
  let changed = false;
  for (const { code, path } of issues) {
    const value = valueAt(filled, path);
    if (!['invalid_type', 'invalid_union'].includes(code) || typeof value !== 'string') continue;
    const node = document.getIn(path, true);
    if (!isScalar(node) || node.type !== 'PLAIN' || !/^\$\{\w+\}$/.test(String(node.value))) continue;
    if (!/^\d{1,15}$/.test(value)) continue;
    (valueAt(filled, path.slice(0, -1)) as Record<string | number, unknown>)[path.at(-1) ?? ''] =
      Number(value);
    changed = true;
  }
  if (!changed) return { settings: undefined, issues };
  const second = fileSchema.safeParse(filled);
  return second.success
    ? { settings: second.data, issues: [] }
    : { settings: undefined, issues: second.error.issues as Issue[] };
}

/** Fills ${VAR} from the environment in every string; $${ stands for a literal ${. */
function fill(
  value: unknown,
  path: Path,
  lookUp: (name: string) => string | undefined,
  problems: Problem[],
): unknown {
  if (typeof value === 'string') {
    return value.replaceAll(/(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (whole, escape: string, name: string) => {
      if (escape !== '') return whole.slice(1);
      const text = lookUp(name);
      if (text === undefined) problems.push({ path, message: `the environment variable ${name} is not set` });
      return text ?? '';
    });
  }
  if (Array.isArray(value)) return value.map((item, index) => fill(item, [...path, index], lookUp, problems));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, fill(item, [...path, key], lookUp, problems)]),
    );
  }
  return value;
}

/** By their place in the file, as a person corrects them. */
function inOrder(problems: Problem[], document: Document): Problem[] {
  const offset = (problem: Problem) => nearestPosition(document, problem.path) ?? 0;
  return [...problems].sort((a, b) => offset(a) - offset(b));
}

function locateIn(document: Document, lines: LineCounter, file: string, path: Path): string {
  const position = nearestPosition(document, path);
  const line = position === undefined ? '' : `:${String(lines.linePos(position).line)}`;
  return `${file}${line}: ${pathText(path)}`;
}

/** Where the value stands, or what holds it. */
function nearestPosition(document: Document, path: Path): number | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const position = positionOf(document, path.slice(0, length));
    if (position !== undefined) return position;
  }
  return undefined;
}

function positionOf(document: Document, path: Path): number | undefined {
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  const last = path.at(-1);
  if (isSeq(parent) && typeof last === 'number') {
    return (parent.items[last] as { range?: [number] } | undefined)?.range?.[0];
  }
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(last));
  return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
}
