import { DbopsError, type ErrorCode } from '../errors.ts';

/** What the server said when it refused a statement; the fields of the protocol's ErrorResponse. */
export interface ServerError extends Error {
  code: string;
  severity?: string;
  detail?: string;
  hint?: string;
  table?: string;
  constraint?: string;
}

/** Whether an error came from the server with an SQLSTATE (five characters). */
export function isServerError(error: unknown): error is ServerError {
  return (
    error instanceof Error &&
    'severity' in error &&
    'code' in error &&
    /^[0-9A-Z]{5}$/.test(String(error.code))
  );
}

/** The SQLSTATE of an error or of its cause, if it has one. */
export function sqlStateOf(error: unknown): string | undefined {
  if (isServerError(error)) return error.code;
  if (error instanceof DbopsError) return sqlStateOf(error.cause);
  return undefined;
}

/** SQLSTATEs after which the same transaction may succeed when it is tried again a little later. */
const retryable = new Set([
  '55P03', // lock_not_available
  '40P01', // deadlock_detected
  '40001', // serialization_failure
]);

/** Whether waiting and trying again is worth it: a lock timeout, a deadlock, or our own statement_timeout. */
export function isRetryable(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state === undefined) return false;
  return retryable.has(state) || (state === '57014' && isTimeout(error));
}

function isTimeout(error: unknown): boolean {
  const source = error instanceof DbopsError ? error.cause : error;
  return source instanceof Error && source.message.includes('statement timeout');
}

interface Mapping {
  code: ErrorCode;
  hint?: string;
}

const mappings: Record<string, Mapping> = {
  '28P01': {
    code: 'authentication_failed',
    hint: 'Check the password: PGPASSWORD, ~/.pgpass or connection.url.',
  },
  '28000': {
    code: 'authentication_failed',
    hint: 'Check the role and the lines of pg_hba.conf that apply to this host.',
  },
  '3D000': {
    code: 'connection_failed',
    hint: 'List the databases with "psql -l" and name one in DATABASE_URL or --url.',
  },
  '53300': {
    code: 'connection_failed',
    hint: 'The server has no free connection slot; try again or raise max_connections.',
  },
  '57P03': {
    code: 'connection_failed',
    hint: 'The server is starting up or shutting down; try again in a moment.',
  },
  '57P01': { code: 'connection_lost', hint: 'An administrator ended this session; run the command again.' },
  '57P02': {
    code: 'connection_lost',
    hint: 'Another server process crashed; run the command again when the server is back.',
  },
  '42501': {
    code: 'privilege_missing',
    hint: 'Run "dbops doctor": it lists the privileges by command and the GRANT that helps.',
  },
  '25006': {
    code: 'read_only',
    hint: 'Connect to the primary: changes cannot be made on a standby or in a read-only session.',
  },
  '55P03': { code: 'lock_timeout', hint: 'Try again when the session that holds the lock has ended.' },
  '40P01': { code: 'lock_timeout', hint: 'Another session and this one waited for each other; try again.' },
  '57014': { code: 'statement_timeout' },
  '53200': {
    code: 'out_of_resources',
    hint: 'The server is out of shared memory or memory; see max_locks_per_transaction.',
  },
  '53100': { code: 'out_of_resources', hint: 'The disk of the server is full.' },
  '42P07': {
    code: 'name_collision',
    hint: 'A relation of that name exists already; rename it or change "naming".',
  },
  '42P01': {
    code: 'object_changed',
    hint: 'A table vanished while dbops was working; run the command again.',
  },
  // Raised by our own proof: see changedState in sql/export.ts.
  DBOPS: { code: 'object_changed' },
  '55006': { code: 'refused', hint: 'The object is in use by this or another session; try again.' },
};

const networkErrors: Record<string, string> = {
  ECONNREFUSED: 'Is the server running, and are host and port right? Try "pg_isready" with the same values.',
  ENOTFOUND: 'The host name is not known; check it for a typing mistake.',
  EAI_AGAIN: 'The name of the host could not be resolved; check DNS or use an address.',
  ETIMEDOUT:
    'The host does not answer; check the address, the firewall or security group, and connection.connectTimeout.',
  EHOSTUNREACH: 'There is no route to the host; check the network.',
  ENETUNREACH: 'There is no route to the network; check the network.',
  ECONNRESET: 'The connection was closed by the other side; the server may have stopped.',
  EPIPE: 'The connection was closed by the other side; the server may have stopped.',
  ENOENT: 'There is no server socket at that path; is the server running on this host?',
  EACCES: 'The server socket may not be opened by this user.',
};

/** The connection ended under us: no SQLSTATE, only what Node or the driver says. */
export function isConnectionLoss(error: unknown): boolean {
  if (error instanceof DbopsError && error.code === 'connection_lost') return true;
  const state = sqlStateOf(error);
  if (state !== undefined) return state.startsWith('57P') || state.startsWith('08');
  if (!(error instanceof Error)) return false;
  if ('code' in error && typeof error.code === 'string' && error.code in networkErrors) return true;
  return /Connection terminated|Client has encountered a connection error|not queryable|closed the connection/.test(
    error.message,
  );
}

/** Turns what the driver threw into a DbopsError. `place` says where, for people: a host, or the statement's tag. */
export function toDbopsError(error: unknown, place: string, connected: boolean): DbopsError {
  if (error instanceof DbopsError) return error;
  if (isServerError(error)) {
    const mapping = mappings[error.code];
    const code = mapping?.code ?? (error.code.startsWith('23') ? 'constraint_violated' : 'sql_failed');
    const message =
      code === 'statement_timeout' && isTimeout(error)
        ? 'the statement ran into its own time limit'
        : error.message;
    return new DbopsError(code, `${message} (SQLSTATE ${error.code}, ${place})`, {
      hint: mapping?.hint ?? error.hint,
      detail: error.detail,
      cause: error,
    });
  }
  const source = unwrapAggregate(error);
  const message = source instanceof Error ? source.message : String(source);
  const network =
    source instanceof Error && 'code' in source ? networkErrors[String(source.code)] : undefined;
  if (connected && isConnectionLoss(source)) {
    return new DbopsError('connection_lost', `the connection to the server was lost (${place})`, {
      hint: 'Nothing that was not committed is kept; run the same command again.',
      detail: message,
      cause: error,
    });
  }
  if (
    network !== undefined ||
    /timeout expired|SSL|self-signed|certificate|Connection terminated/.test(message)
  ) {
    return new DbopsError('connection_failed', `cannot connect to ${place}: ${message}`, {
      hint: network ?? 'Check host, port and TLS settings (sslmode) of the connection.',
      cause: error,
    });
  }
  if (/password/i.test(message)) {
    return new DbopsError('authentication_failed', `cannot log in to ${place}: ${message}`, {
      hint: 'Set PGPASSWORD, ~/.pgpass or DBOPS_URL_FILE; a password never goes on the command line.',
      cause: error,
    });
  }
  throw error;
}

/** Node tries every address of a name and throws all failures together; the first one tells most. */
function unwrapAggregate(error: unknown): unknown {
  return error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
}
