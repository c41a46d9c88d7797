// A restore from the command line, killed, and with stores that lack something.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { PitrResult } from '../../src/backup/restore/pitr/restore.ts';
import { isAlive } from '../../src/process/daemon.ts';
import { filesIn } from '../support/archive-run.ts';
import type { CliResult } from '../support/cli.ts';
import { serverBinaries, waitUntil } from '../support/database.ts';
import { marksOf, startPitrSite, stopServer, whyNoPitr, type PitrSite } from '../support/pitr.ts';
import { sharedDirectory } from '../support/wal.ts';
import { createWorkspace, type Workspace } from '../support/workspace.ts';

const reason = whyNoPitr();

describe.skipIf(reason !== undefined)(
  `restore pitr in trouble${reason === undefined ? '' : ` (${reason})`}`,
  () => {
    let site: PitrSite;
    let work: Workspace;
    let base: string;
    const searchPath = `${serverBinaries()}:${process.env['PATH'] ?? ''}`;

    beforeAll(async () => {
      site = await startPitrSite();
      base = await site.base();
      await site.insert(1);
      await site.push();
      await site.insert(2);
      await site.push();
      // There is no database to be reached.
      work = createWorkspace(
        { url: 'postgresql://nobody@127.0.0.1:1/none' },
        `stores:\n  near: { url: "file://${site.near}" }\n  far: { url: "file://${site.far}" }\nwal: { spool: "${sharedDirectory('spool')}" }\n`,
      );
      fs.chmodSync(work.dir, 0o755);
    });

    const line = (directory: string, ...more: string[]) => [
      ...['restore', 'pitr', '--to', 'latest', '--data-dir', directory, '--start', '--yes', '--json'],
      ...more,
    ];
    const run = (directory: string, ...more: string[]) =>
      work.run(line(directory, ...more), { PATH: searchPath });
    const resultOf = ({ code, stdout, stderr }: CliResult) => {
      expect(code, stderr).toBe(0);
      return (JSON.parse(stdout) as { data: PitrResult }).data;
    };
    const rowsOf = async (result: PitrResult) => {
      try {
        return await marksOf(result);
      } finally {
        await stopServer(result);
      }
    };
    /** Does something to the files of both stores or one, and takes it back after the test. */
    const changed = async (
      stores: string[],
      pattern: RegExp,
      change: (file: string) => void,
      test: () => Promise<void>,
    ) => {
      const files = stores.flatMap((store) =>
        filesIn(store)
          .map((name) => path.join(store, name))
          .filter((file) => pattern.test(file)),
      );
      expect(files.length).toBeGreaterThan(0);
      const kept = files.map((file) => [file, fs.readFileSync(file)] as const);
      try {
        for (const file of files) change(file);
        await test();
      } finally {
        for (const [file, content] of kept) fs.writeFileSync(file, content);
        execFileSync('chmod', ['-R', 'a+rX', ...stores]);
      }
    };
    const flip = (file: string) => {
      const bytes = fs.readFileSync(file);
      bytes[Math.floor(bytes.length / 2)]! ^= 1;
      fs.writeFileSync(file, bytes);
    };

    it('needs no database, and leaves a server that goes on', async () => {
      const result = resultOf(await run(site.directory()));
      expect(result.backup).toBe(base);
      expect(await rowsOf(result)).toEqual([1, 2]);
      expect(fs.existsSync(path.join(result.dataDirectory, 'dbops-restore.json'))).toBe(false);
      const auto = fs.readFileSync(path.join(result.dataDirectory, 'postgresql.auto.conf'), 'utf8');
      expect(auto).toContain("archive_mode = 'off'");
      expect(auto).not.toContain('recovery_target');
    });

    it('asks before it writes', async () => {
      const directory = site.directory();
      const { code, stderr } = await work.run(
        line(directory).filter((word) => word !== '--yes'),
        { PATH: searchPath },
      );
      expect(code, stderr).toBe(4);
      expect(fs.existsSync(directory)).toBe(false);
    });

    it('is begun anew after it was killed while it unpacked', async () => {
      const directory = site.directory();
      const bin = sharedDirectory('slow');
      fs.writeFileSync(
        path.join(bin, 'tar'),
        `#!/bin/sh\n[ "$1" = --version ] || { echo > ${bin}/began; sleep 30; }\nexec ${execFileSync('sh', ['-c', 'command -v tar']).toString().trim()} "$@"\n`,
        { mode: 0o755 },
      );
      const killed = work.spawn(line(directory), { PATH: `${bin}:${searchPath}` });
      await waitUntil(() => fs.existsSync(path.join(bin, 'began')), { what: 'tar', timeoutMs: 30_000 });
      const other = await run(directory);
      expect(other.code).toBe(4);
      expect(other.stderr).toContain('another restore fills');
      killed.kill('SIGKILL');
      await killed.done;
      expect(fs.existsSync(path.join(directory, 'dbops-restore.json'))).toBe(true);
      fs.writeFileSync(path.join(directory, 'half'), 'of a file');
      expect(await rowsOf(resultOf(await run(directory)))).toEqual([1, 2]);
      expect(fs.existsSync(path.join(directory, 'half'))).toBe(false);
    });

    it('takes its server with it when it is killed while that recovers, and is begun anew', async () => {
      const directory = site.directory();
      const pidFile = path.join(directory, 'postmaster.pid');
      const killed = work.spawn(line(directory), { PATH: searchPath });
      await waitUntil(() => fs.existsSync(pidFile) && fs.readFileSync(pidFile, 'utf8').includes('\n'), {
        what: 'the server',
        timeoutMs: 30_000,
      });
      const pid = Number(fs.readFileSync(pidFile, 'utf8').split('\n')[0]);
      killed.kill('SIGKILL');
      const { signal } = await killed.done;
      expect(signal).toBe('SIGKILL');
      await waitUntil(() => !isAlive(pid), { what: 'the end of the server', timeoutMs: 30_000 });
      expect(await rowsOf(resultOf(await run(directory)))).toEqual([1, 2]);
    });

    it('ends its server when it is interrupted', async () => {
      const directory = site.directory();
      const pidFile = path.join(directory, 'postmaster.pid');
      const stopped = work.spawn(line(directory), { PATH: searchPath });
      await waitUntil(() => fs.existsSync(pidFile), { what: 'the server', timeoutMs: 30_000 });
      stopped.kill('SIGTERM');
      expect((await stopped.done).code).toBe(143);
      expect(fs.existsSync(pidFile)).toBe(false);
    });

    it('takes the next copy of a damaged base, and starts nothing where no copy is good', async () => {
      await changed([site.near], /base\.tar\.zst$/, flip, async () => {
        const done = await run(site.directory());
        expect(done.stderr).toMatch(/near/);
        expect(await rowsOf(resultOf(done))).toEqual([1, 2]);
      });
      const directory = site.directory();
      await changed([site.near, site.far], /base\.tar\.zst$/, flip, async () => {
        const { code, stderr } = await run(directory);
        expect(code, stderr).toBe(7);
        expect(stderr).toContain('base.tar.zst');
        expect(fs.existsSync(path.join(directory, 'postmaster.pid'))).toBe(false);
        expect(fs.existsSync(path.join(directory, 'recovery.signal'))).toBe(false);
      });
      expect(await rowsOf(resultOf(await run(directory)))).toEqual([1, 2]);
    });

    it('finds a segment that is missing before anything is written, and does with one store that has it', async () => {
      const segments = filesIn(path.join(site.far, site.system, 'wal')).filter((name) =>
        /[0-9A-F]{24}\.zst$/.test(name),
      );
      const missing = path.basename(segments.sort().at(-2)!);
      const pattern = new RegExp(`${missing.replace('.', '\\.')}$`);
      const directory = site.directory();
      await changed(
        [site.near, site.far],
        pattern,
        (file) => fs.rmSync(file),
        async () => {
          const { code, stderr } = await run(directory);
          expect(code, stderr).toBe(4);
          expect(stderr).toContain(`lacks ${missing.replace('.zst', '')}`);
          expect(fs.existsSync(directory)).toBe(false);
        },
      );
      await changed(
        [site.near],
        pattern,
        (file) => fs.rmSync(file),
        async () => {
          expect(await rowsOf(resultOf(await run(directory)))).toEqual([1, 2]);
        },
      );
    });
  },
);
