import { parse } from './cli.ts';

/** The process edge: argv, signals, EPIPE, exit code. Nothing else sets process.exitCode. */
async function main(): Promise<void> {
  const abort = new AbortController();
  let interruptions = 0;
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      interruptions += 1;
      // The second Ctrl-C does not wait for the server to let go.
      if (interruptions > 1) process.exit(130);
      abort.abort(name);
    });
  }
  for (const stream of [process.stdout, process.stderr]) {
    // A reader that has gone away (| head) is no error; the write's own callback says the rest.
    stream.on('error', () => undefined);
  }
  const parsed = await parse(process.argv.slice(2));
  if (parsed.kind === 'exit') {
    process.exitCode = parsed.code;
    return;
  }
  const { runCommand } = await import('./commands/run.ts');
  process.exitCode = await runCommand({ ...parsed, signal: abort.signal });
}

await main();
