import { startChild } from './child.ts';

/** How long a hook may take: it must not hold up the work that goes on. */
const hookTimeoutMs = 30_000;

/**
 * Runs a shell command of the configuration with one JSON document on its standard input. Returns what went wrong with
 * it, for a warning: a hook that fails changes nothing else.
 */
export async function runHook(command: string, message: object): Promise<string | undefined> {
  try {
    const hook = startChild('/bin/sh', ['-c', command], { signal: AbortSignal.timeout(hookTimeoutMs) });
    hook.process.stdout?.resume();
    hook.process.stdin?.end(`${JSON.stringify(message)}\n`);
    await hook.finished;
    return undefined;
  } catch (reason) {
    return reason instanceof Error ? reason.message : String(reason);
  }
}
