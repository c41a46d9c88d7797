import { spawn } from 'node:child_process';

/** Starts dbops once more, with these arguments, in a session of its own that outlives this process. Its output is lost. */
export function startDetached(args: string[], cwd: string): void {
  const [, entry = ''] = process.argv;
  const child = spawn(process.execPath, [entry, ...args], { cwd, detached: true, stdio: 'ignore' });
  // Nobody waits for it: what it would have done is done later by somebody else.
  child.on('error', () => undefined);
  child.unref();
}

/** The number of this process. */
export function ownPid(): number {
  return process.pid;
}
