/** The one place that reads the environment; everything else is handed what it needs. */
export type Environment = Record<string, string | undefined>;

/** The variables that dbops obeys, with what they do. `dbops help environment` prints them. */
export const environmentVariables: readonly (readonly [name: string, meaning: string])[] = [
  ['DBOPS_CONFIG', 'the configuration file to use, exactly this one'],
  ['DBOPS_URL', 'the database, as postgresql://user@host:port/database'],
  ['DBOPS_URL_FILE', 'a file whose first line is that url'],
  ['DBOPS_PASSWORD, DBOPS_PASSWORD_FILE', 'the password, or a file whose first line is the password'],
  ['DBOPS_STATE_SCHEMA', 'the schema of the run history and the ledger (default dbops)'],
  ['DBOPS_LOG_FORMAT', 'text or json'],
  ['DBOPS_TEST_NOW', 'sets the clock, for tests (2026-11-21T00:00:00Z); changes need DBOPS_TEST=1 as well'],
  ['DATABASE_URL', 'the database, when DBOPS_URL is not set'],
  ['PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD', 'as for psql, when there is no url'],
  ['PGPASSFILE, PGSSLMODE, PGSSLROOTCERT, PGCONNECT_TIMEOUT', 'as for psql'],
  ['XDG_CONFIG_HOME', "where the user's dbops/dbops.yaml lies (default ~/.config)"],
  ['NO_COLOR, FORCE_COLOR, TERM=dumb', 'switch colours off or on'],
];

/** A copy of the process environment. */
export function readEnvironment(): Environment {
  return { ...process.env };
}
