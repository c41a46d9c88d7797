import type { ConnectionSettings } from './client.ts';

/** Parameters of a connection URL that libpq takes from the environment under another name. */
const variables: Record<string, string> = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  user: 'PGUSER',
  dbname: 'PGDATABASE',
  password: 'PGPASSWORD',
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  channel_binding: 'PGCHANNELBINDING',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
};

/**
 * What psql, pg_dump and the like need to reach the same database: variables of the environment, since an argument can be
 * read by every user of the host. Nothing of the caller's own PG* variables is needed beside them.
 */
export function libpqEnvironment(settings: ConnectionSettings): Record<string, string> {
  const env: Record<string, string> = {
    PGAPPNAME: settings.applicationName,
    PGCLIENTENCODING: 'UTF8',
    PGCONNECT_TIMEOUT: String(Math.max(2, Math.ceil(settings.connectTimeoutMs / 1000))),
  };
  const set = (name: string, value: string | number | undefined) => {
    if (value !== undefined && value !== '') env[name] = String(value);
  };
  set('PGSSLMODE', settings.sslmode);
  set('PGSSLROOTCERT', settings.sslrootcert);
  set('PGPASSWORD', settings.password);
  if (settings.url === undefined) {
    set('PGHOST', settings.host);
    set('PGPORT', settings.port);
    set('PGUSER', settings.user);
    set('PGDATABASE', settings.database);
    return env;
  }
  const url = new URL(settings.url);
  // An IPv6 address stands in brackets in a url, and without them everywhere else.
  set('PGHOST', decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, '$1'));
  set('PGPORT', url.port);
  set('PGUSER', decodeURIComponent(url.username));
  set('PGPASSWORD', decodeURIComponent(url.password));
  set('PGDATABASE', decodeURIComponent(url.pathname.slice(1)));
  for (const [name, value] of url.searchParams) {
    const variable = variables[name];
    if (variable !== undefined) set(variable, value);
  }
  return env;
}
