/** What names a session in a finding. */
export interface SessionName {
  pid: number;
  user: string | null;
  application: string | null;
}

/** How findings about sessions are named, for the advice of their checks. */
export const sessionObjects =
  'Objects are role/application/process id, so that the configuration can have thresholds for "*/pg_dump/*".';

/** "app/pg_dump/4711": tells sessions apart, and a pattern can stand for a role or an application. Pure. */
export function sessionObject({ user, application, pid }: SessionName): string {
  return `${user ?? ''}/${application ?? ''}/${String(pid)}`;
}

/** A statement on one line. Pure. */
export function oneLine(statement: string): string {
  return statement.replaceAll(/\s+/g, ' ').trim();
}
