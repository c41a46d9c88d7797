import type { ScheduledJob } from '../config/schedule.ts';
import type { Log } from '../output/log.ts';

/** A notification must not hold up the job. */
const notifyTimeoutMs = 10_000;

/** How a job ended, for those who are told. */
export interface JobEnd {
  outcome: 'success' | 'failure';
  exitCode: number;
  startedAt: Date;
  durationMs: number;
  /** Why it failed; null when it did not. */
  message: string | null;
}

/** Where and what is told. */
export interface NotifyContext {
  log: Log;
  host: string;
  timeoutMs?: number;
}

type Told = Pick<ScheduledJob, 'name' | 'webhook' | 'healthcheck'>;

/** Tells a healthcheck that the job begins. Never throws: a notification that fails is a warning. */
export async function notifyStart(job: Told, context: NotifyContext): Promise<void> {
  if (job.healthcheck !== undefined)
    await post(context, job.name, 'healthcheck', withSuffix(job.healthcheck, '/start'), '');
}

/** Tells how the job ended. Never throws. */
export async function notifyEnd(job: Told, end: JobEnd, context: NotifyContext): Promise<void> {
  const { name, webhook, healthcheck } = job;
  const hasFailed = end.outcome === 'failure';
  await Promise.all([
    healthcheck === undefined
      ? undefined
      : post(
          context,
          name,
          'healthcheck',
          withSuffix(healthcheck, hasFailed ? '/fail' : ''),
          end.message ?? `exit code ${String(end.exitCode)}`,
        ),
    webhook === undefined
      ? undefined
      : post(context, name, 'webhook', webhook, {
          job: name,
          host: context.host,
          ...end,
          text: textOf(name, context, end),
        }),
  ]);
}

/** Chat programs show "text". */
function textOf(name: string, { host }: NotifyContext, { outcome, exitCode, message }: JobEnd): string {
  if (outcome === 'success') return `dbops ${name} on ${host}: done`;
  return `dbops ${name} on ${host}: failed: ${message ?? `exit code ${String(exitCode)}`}`;
}

/** The path gets it, not the query. Pure. */
function withSuffix(url: string, suffix: string): string {
  const changed = new URL(url);
  if (suffix !== '') changed.pathname = changed.pathname.replace(/\/$/, '') + suffix;
  return changed.href;
}

async function post(
  { log, timeoutMs = notifyTimeoutMs }: NotifyContext,
  job: string,
  kind: 'webhook' | 'healthcheck',
  url: string,
  body: string | object,
): Promise<void> {
  const { origin } = new URL(url);
  const warn = (reason: string) =>
    log.warn(
      { event: 'notification_failed', job, kind, origin, reason },
      // Paths and queries of such URLs are secrets.
      `the ${kind} of job "${job}" at ${origin} was not told: ${reason}`,
    );
  try {
    const isJson = typeof body !== 'string';
    const response = await fetch(withoutUser(url), {
      method: 'POST',
      headers: { 'content-type': isJson ? 'application/json' : 'text/plain', ...authorization(url) },
      body: isJson ? JSON.stringify(body) : body,
      signal: AbortSignal.timeout(timeoutMs),
    });
    await response.body?.cancel();
    if (!response.ok) warn(`it answered ${String(response.status)}`);
  } catch (error) {
    warn(reasonOf(error, timeoutMs));
  }
}

/** fetch takes no user and password within a URL, and repeats the URL when it says so. */
function withoutUser(url: string): string {
  const changed = new URL(url);
  changed.username = '';
  changed.password = '';
  return changed.href;
}

function authorization(url: string): Record<string, string> {
  const { username, password } = new URL(url);
  if (username === '' && password === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** Codes only: messages may repeat the URL. */
function reasonOf(error: unknown, timeoutMs: number): string {
  if (error instanceof Error && error.name === 'TimeoutError')
    return `no answer within ${String(timeoutMs / 1000)} s`;
  const { cause } = error as { cause?: { code?: string } };
  return cause?.code ?? 'the request failed';
}
