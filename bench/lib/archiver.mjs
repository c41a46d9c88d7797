// archiver.mjs <data directory> <count> <archive_command>: asks for each segment that is ready, oldest first, through a shell
// in the data directory, as the archiver of PostgreSQL does; prints the milliseconds that took.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';

const [dataDir = '', count, command = ''] = process.argv.slice(2);
const status = path.join(dataDir, 'pg_wal', 'archive_status');
const ready = fs
  .readdirSync(status)
  .filter((name) => name.endsWith('.ready'))
  .map((name) => name.slice(0, -'.ready'.length))
  .sort()
  .slice(0, Number(count));
const started = performance.now();
for (const name of ready) {
  const line = command.replaceAll('%p', `pg_wal/${name}`).replaceAll('%f', name);
  const { status: code, stderr } = spawnSync('sh', ['-c', line], { cwd: dataDir, encoding: 'utf8' });
  if (code !== 0) throw new Error(`${name} was not archived (${code}): ${stderr}`);
  fs.renameSync(path.join(status, `${name}.ready`), path.join(status, `${name}.done`));
}
console.log(JSON.stringify({ segments: ready.length, ms: performance.now() - started }));
