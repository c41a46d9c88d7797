import { literal } from '../../../sql/quote.ts';
import { nameBehind, statementsIn } from './script.ts';

/** The roles that a server lacks, and what makes them. The statements hold verifiers of passwords: never show them. */
export interface MissingRoles {
  names: string[];
  statements: string[];
}

/**
 * Roles of a script of pg_dumpall -g that are not on the server, with their settings, comments and memberships. Nothing
 * is said about a role that is there, but that a new one is a member of it, or it of a new one.
 */
export function missingRoles(globals: string, existing: string[]): MissingRoles {
  const there = new Set(existing);
  const statements = statementsIn(globals);
  const names = statements.flatMap((statement) => {
    const name = nameBehind(statement, 'CREATE ROLE');
    return name === undefined || there.has(name) ? [] : [name];
  });
  const made = new Set(names);
  return { names, statements: statements.flatMap((statement) => ofRole(statement, made)) };
}

function ofRole(statement: string, made: Set<string>): string[] {
  const heads = ['CREATE ROLE', 'ALTER ROLE', 'COMMENT ON ROLE', 'SECURITY LABEL FOR .+ ON ROLE'];
  for (const head of heads) {
    const name = nameBehind(statement, head);
    if (name !== undefined) return made.has(name) ? [statement] : [];
  }
  const parent = nameBehind(statement, 'GRANT');
  const member = nameBehind(statement, 'GRANT .+? TO');
  if (parent === undefined || member === undefined) return [];
  if (!made.has(parent) && !made.has(member)) return [];
  // The role that granted it need not be here, or may not grant here.
  return [statement.replace(/ GRANTED BY (?:"(?:[^"]|"")+"|\S+)$/, '')];
}

/** Tablespaces that a script of pg_restore places something in. */
export function tablespacesIn(script: string): string[] {
  const names = statementsIn(script).flatMap((statement) => {
    const match = /^SET default_tablespace = (.*)$/.exec(statement);
    const name = match?.[1] === "''" ? undefined : nameBehind(statement, 'SET default_tablespace =');
    return name === undefined || name === '' ? [] : [name];
  });
  return [...new Set(names)];
}

/**
 * ALTER DATABASE ... SET for a setting as the manifest has it, name=value. Lists are written as SET takes them. Undefined
 * for a secret, of which the manifest has the name alone.
 */
export function databaseSetting(database: string, setting: string): string | undefined {
  if (setting.endsWith('=***')) return undefined;
  const at = setting.indexOf('=');
  const name = setting.slice(0, at);
  const value = setting.slice(at + 1);
  const isList = /^(search_path|temp_tablespaces|(session|shared|local)_preload_libraries)$/.test(name);
  const items = isList
    ? [...value.matchAll(/"((?:[^"]|"")*)"|[^\s,"]+/g)].map(([text, quoted]) =>
        quoted === undefined ? text : quoted.replaceAll('""', '"'),
      )
    : [value];
  const written = name.split('.').map((part) => `"${part.replaceAll('"', '""')}"`);
  return `ALTER DATABASE ${database} SET ${written.join('.')} = ${items.length === 0 ? "''" : items.map(literal).join(', ')}`;
}
