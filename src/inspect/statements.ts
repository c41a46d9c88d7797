import type { ServerFacts } from '../pg/connection.ts';
import { ident, literal } from '../sql/quote.ts';
import type { StatementsFacts } from '../sql/statements-facts.ts';

/** Why pg_stat_statements says nothing, or no longer counts, and what mends that. */
export interface StatementsObstacle {
  message: string;
  /** What a person does, as sentences. */
  advice: string;
  /** Loads the library at the next start of the server; null where it is loaded, or where that is not known. */
  load: string | null;
  /** What it takes then. */
  mend: string | null;
}

type Server = Pick<ServerFacts, 'database' | 'user' | 'isStandby'>;

/** The schema that the statements can be read from, or why they cannot. Pure. */
export function findStatements(
  facts: StatementsFacts,
  server: Server,
): { schema: string } | StatementsObstacle {
  const { extension, isLoaded } = facts;
  const where = server.isStandby ? ' On the primary: a standby gets it from there.' : '';
  if (extension === null)
    return {
      message: `the extension pg_stat_statements is not in database "${server.database}"`,
      advice: [
        ...(facts.isInstalled
          ? []
          : ["Install the package with PostgreSQL's contrib modules on the server."]),
        ...(isLoaded ? [] : [loadAdvice(facts)]),
        `Create the extension in this database as a superuser.${where}`,
      ].join(' '),
      load: isLoaded ? null : loadStatement(facts),
      mend: 'create extension pg_stat_statements;',
    };
  if (!isNewEnough(extension.version))
    return {
      message: `the extension pg_stat_statements is still of version ${extension.version}, and it takes 1.9`,
      advice: `The server was upgraded and the extension was not.${where}`,
      load: null,
      mend: 'alter extension pg_stat_statements update;',
    };
  if (!isLoaded)
    return {
      message: 'the library of pg_stat_statements is not loaded: nothing is counted',
      advice: loadAdvice(facts),
      load: loadStatement(facts),
      mend: null,
    };
  if (!extension.isReachable)
    return {
      message: `role "${server.user}" may not use the schema "${extension.schema}" of pg_stat_statements`,
      advice: `Give the role what it takes, as the owner of the schema.${where}`,
      load: null,
      mend: `grant usage on schema ${ident(extension.schema)} to ${ident(server.user)};`,
    };
  return { schema: extension.schema };
}

/** Why nothing new is counted, while what was counted before can be read: undefined where all is well. Pure. */
export function statementsPause({ queryIds, track }: StatementsFacts): StatementsObstacle | undefined {
  const paused = (message: string, mend: string) => ({
    message,
    advice: 'Switch it on again, unless somebody switched it off on purpose.',
    load: null,
    mend: `${mend} select pg_reload_conf();`,
  });
  if (queryIds === 'off')
    return paused(
      'compute_query_id is off: pg_stat_statements counts nothing',
      "alter system set compute_query_id = 'auto';",
    );
  if (track === 'none')
    return paused(
      'pg_stat_statements.track is none: nothing is counted',
      "alter system set pg_stat_statements.track = 'top';",
    );
  return undefined;
}

/** 1.9 came with PostgreSQL 14, and is the first that says since when it counts. */
function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 1 || (major === 1 && minor >= 9);
}

function loadAdvice({ preloaded }: StatementsFacts): string {
  const kept = preloaded === null ? ', whose value this role may not read; keep what is there' : '';
  return `Add pg_stat_statements to shared_preload_libraries${kept}, and restart the server.`;
}

/** What is loaded today stays: without it the server may not start, or lose what it needs. */
function loadStatement({ preloaded }: StatementsFacts): string | null {
  if (preloaded === null) return null;
  const libraries = preloaded
    .split(',')
    .map((library) => library.trim().replaceAll(/^"|"$/g, ''))
    .filter((library) => library !== '');
  const all = [...libraries, 'pg_stat_statements'].map((library) => literal(library).trim());
  return `alter system set shared_preload_libraries = ${all.join(', ')};`;
}
