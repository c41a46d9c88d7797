// While a backup runs, its password stands in no command line, and in no environment that another user may read.
import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { createDatabase, waitUntil } from '../../support/database.ts';
import { fakePrograms, logicalSetup, whyNoDump } from '../../support/logical-backup.ts';

const secret = 'seen-by-nobody-4711';

it.skipIf(whyNoDump() !== undefined)('shows no password to other users of the host', async () => {
  const db = await createDatabase('logical_secret');
  try {
    await db.query('create table counted as select 1 as id');
    const url = new URL(db.url);
    url.password = secret;
    const setup = logicalSetup({ ...db, url: url.href });
    const programs = fakePrograms(setup.dir);
    const wait = 'touch "$own/begun"; while [ ! -e "$own/go" ]; do sleep 0.05; done';
    programs.replace('pg_dump', wait);
    const running = setup.spawn(['backup', 'create', '--kind', 'logical', '-v'], programs.env);
    await waitUntil(() => fs.existsSync(path.join(programs.own, 'begun')), { what: 'pg_dump' });
    const holders = fs
      .readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .flatMap((pid) => {
        try {
          const commandLine = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8');
          expect(commandLine, `the command line of ${pid}`).not.toContain(secret);
          const holds = fs.readFileSync(`/proc/${pid}/environ`, 'utf8').includes(secret);
          return holds ? [{ pid, ...ownerAndMode(pid) }] : [];
        } catch (error) {
          if (['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
          throw error;
        }
      });
    // dbops, the shell that joins the programs, and pg_dump itself: it is the same user's, and nobody else may read it.
    expect(holders.length).toBeGreaterThanOrEqual(3);
    for (const holder of holders) {
      expect(holder).toMatchObject({ uid: process.getuid?.(), mode: 0o400 });
    }
    fs.writeFileSync(path.join(programs.own, 'go'), '');
    const { code, stdout, stderr } = await running.done;
    expect(code, stderr).toBe(0);
    const kept =
      JSON.stringify(await db.query('select * from dbops.run')) +
      JSON.stringify(await db.query('select * from dbops.backup'));
    const manifests = fs
      .readdirSync(setup.store, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.json'));
    expect(manifests.length).toBe(1);
    for (const text of [
      stdout,
      stderr,
      kept,
      ...manifests.map((name) => fs.readFileSync(path.join(setup.store, name), 'utf8')),
    ]) {
      expect(text).not.toContain(secret);
    }
  } finally {
    await db.drop();
  }
});

function ownerAndMode(pid: string) {
  const { uid, mode } = fs.statSync(`/proc/${pid}/environ`);
  return { uid, mode: mode & 0o777 };
}
