import { version } from './version.ts';

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
  const argv = process.argv.slice(2);
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')) {
    process.stdout.write(`${version}\n`);
    return;
  }
  const { parse } = await import('./cli.ts');
  const parsed = await parse(argv);
  if (parsed.kind === 'exit') {
    process.exitCode = parsed.code;
    return;
  }
  process.exitCode = await parsed.runCommand({ ...parsed, signal: abort.signal });
}

await main();
