import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { quietMarginMicros } from '../../../src/backup/restore/pitr/reach.ts';
import { applyPitr } from '../../../src/backup/restore/pitr/restore.ts';
import { waitUntil } from '../../support/database.ts';
import {
  endStarted,
  marksOf,
  startPitrSite,
  stopServer,
  whyNoPitr,
  type PitrSite,
} from '../../support/pitr.ts';

const reason = whyNoPitr();

describe.skipIf(reason !== undefined)(
  `recovery to a point in time${reason === undefined ? '' : ` (${reason})`}`,
  () => {
    let site: PitrSite;
    let first: string;
    let second: string;
    const at = { time: '', lsn: '', beforeFirst: '' };

    beforeAll(async () => {
      site = await startPitrSite();
      // What an administrator has set stays in the backup, and wins over postgresql.conf.
      await site.db.query("alter system set log_error_verbosity = 'verbose'");
      for (const name of ['hba_file', 'ident_file'])
        await site.db.query(
          `alter system set ${name} = '${site.server.dataDir}/pg_${name.replace('_file', '.conf')}'`,
        );
      at.beforeFirst = await site.now();
      first = await site.base();
      await site.insert(1);
      at.time = await site.now();
      at.lsn = await site.lsn();
      await site.insert(2);
      await site.db.query("select pg_create_restore_point('before deploy')");
      await site.insert(3);
      second = await site.base();
      await site.insert(4);
      await site.push();
    });

    it('reaches a time: a row before is there, a row after is not', async () => {
      const result = await site.restore(`time:${at.time}`);
      expect(result.rows).toEqual([1]);
      expect(result).toMatchObject({ backup: first, reached: { timeline: 2 } });
      expect(result.reached?.stoppedBy).toMatch(/recovery stopping before commit/);
      expect(Date.parse(result.reached!.lastCommitAt!.replace(/\+00$/, 'Z'))).toBeLessThan(
        Date.parse(at.time),
      );
    });

    it('waits at its target to be looked at, and still knows its target', async () => {
      const context = site.context();
      const plan = await site.plan(`time:${at.time}`);
      const result = await applyPitr(context, plan, { ...endStarted, action: 'pause' });
      expect(result.reached).toMatchObject({ isPaused: true, timeline: null });
      expect(await marksOf(result)).toEqual([1]);
      await stopServer(result);
      const auto = fs.readFileSync(path.join(result.dataDirectory, 'postgresql.auto.conf'), 'utf8');
      expect(auto.match(/^recovery_target_(time|lsn|name|action) .*$/gm)).toHaveLength(2);
    });

    it('pauses at the end of the archive, long after the server takes connections to read, its backup pinned', async () => {
      const context = site.context();
      const { restoreCommand } = context;
      const seen = path.join(site.spool, '.seen');
      context.restoreCommand = (...args) => `touch ${seen}; sleep 0.4; ${restoreCommand(...args)}`;
      const plan = await site.plan('latest', { id: first, pause: true }, context);
      fs.rmSync(seen);
      const restoring = applyPitr(context, plan, { ...endStarted, action: 'pause' });
      await waitUntil(() => fs.existsSync(seen), { what: 'the first segment' });
      const pins = fs
        .readdirSync(site.near, { recursive: true, encoding: 'utf8' })
        .filter((name) => /pins\/.+\.json$/.test(name));
      const marker = fs.readFileSync(path.join(plan.wish.dataDirectory, 'dbops-restore.json'), 'utf8');
      const result = await restoring;
      expect(marker).toContain('"isStarted": true');
      expect(pins).toHaveLength(1);
      expect(result.reached).toMatchObject({ isPaused: true, timeline: null });
      expect(await marksOf(result)).toEqual([1, 2, 3, 4]);
      const [own] = await site.ask(
        result,
        "select current_setting('hba_file') as hba, current_setting('ident_file') as ident, current_setting('max_logical_replication_workers') as workers, current_setting('cron.launch_active_jobs') as jobs",
      );
      await stopServer(result);
      const inside = (name: string) => path.join(result.dataDirectory, name);
      expect(own).toEqual({
        hba: inside('pg_hba.conf'),
        ident: inside('pg_ident.conf'),
        workers: '0',
        jobs: 'off',
      });
      expect(result.notes.join()).toContain('max_logical_replication_workers');
    });

    it('says so when the recovery ends before the end that was planned', async () => {
      const plan = await site.plan('latest', { id: first });
      const last = fs
        .readdirSync(site.spool)
        .filter((name) => /^[0-9A-F]{24}$/.test(name))
        .sort()
        .at(-1)!;
      const files = [site.near, site.far].map((store) =>
        path.join(store, site.system, 'wal', last.slice(0, 16), `${last}.zst`),
      );
      for (const file of files) fs.renameSync(file, `${file}.away`);
      try {
        await expect(applyPitr(site.context(), plan, endStarted)).rejects.toMatchObject({
          code: 'tool_failed',
          message: 'the recovery ended before the end of the archive, and the server is stopped',
        });
      } finally {
        for (const file of files) fs.renameSync(`${file}.away`, file);
      }
      // It was opened for writing: nobody clears it by the same command.
      await expect(site.plan('latest', { dataDirectory: plan.wish.dataDirectory })).rejects.toMatchObject({
        code: 'refused',
        message: `${plan.wish.dataDirectory} belongs to a cluster that a restore has made and started`,
      });
      fs.writeFileSync(path.join(plan.wish.dataDirectory, 'recovery.signal'), '');
      const again = await site.plan('latest', { dataDirectory: plan.wish.dataDirectory });
      expect(again.directories).toMatchObject([{ state: 'unfinished' }]);
    });

    it('takes no store for empty that does not know the cluster: its disk may not be mounted', async () => {
      const cluster = path.join(site.near, site.system);
      fs.renameSync(cluster, `${cluster}.away`);
      try {
        await expect(site.plan('latest')).rejects.toMatchObject({
          code: 'refused',
          message: expect.stringContaining('store "near" could not be asked for WAL') as unknown,
          detail: expect.stringContaining('is its disk mounted?') as unknown,
        });
        const { stop } = await site.plan('latest', { clamp: true });
        expect(stop.notes.join()).toContain('Store "near" could not be asked for WAL');
        expect((await site.plan(`time:${at.time}`)).stop.notes).toEqual([]);
      } finally {
        fs.renameSync(`${cluster}.away`, cluster);
      }
    });

    it('touches nothing that has come into the directory since it was looked at', async () => {
      const plan = await site.plan('latest');
      const mine = path.join(plan.wish.dataDirectory, 'mine');
      fs.mkdirSync(plan.wish.dataDirectory);
      fs.writeFileSync(mine, '');
      await expect(applyPitr(site.context(), plan, endStarted)).rejects.toMatchObject({
        code: 'refused',
        message: `${plan.wish.dataDirectory} is not empty any more`,
      });
      expect(fs.readdirSync(plan.wish.dataDirectory)).toEqual(['mine']);
    });

    it('says what the restore_command says when it is tried, and gives it a deadline', async () => {
      const context = site.context();
      context.restoreCommand = (_id, _stores, deadline) =>
        `echo "the store is gone for ${deadline ?? 'ever'}" >&2; exit 255`;
      await expect(site.plan('latest', {}, context)).rejects.toMatchObject({
        code: 'refused',
        detail: expect.stringMatching(/the store is gone for 15s$/) as unknown,
      });
    });

    it('reaches an LSN', async () => {
      const result = await site.restore(`lsn:${at.lsn}`);
      expect(result.rows).toEqual([1]);
      expect(result.backup).toBe(first);
    });

    it('reaches a named restore point, from the backup before it', async () => {
      const result = await site.restore('name:before deploy');
      expect(result.rows).toEqual([1, 2]);
      expect(result.backup).toBe(first);
      expect(result.reached?.stoppedBy).toMatch(/recovery stopping at restore point "before deploy"/);
    });

    it('reaches the end of a backup, and the end of the archive from the newest one', async () => {
      expect(await site.restore('immediate', { id: first })).toMatchObject({ rows: [], backup: first });
      expect(await site.restore('latest')).toMatchObject({ rows: [1, 2, 3, 4], backup: second });
    });

    it('refuses a time before the end of a backup, and names the backup that reaches it', async () => {
      const dataDirectory = site.directory();
      await expect(site.plan(`time:${at.time}`, { id: second, dataDirectory })).rejects.toMatchObject({
        code: 'refused',
        message: expect.stringContaining(`is before the end of backup ${second}`) as unknown,
        detail: expect.stringMatching(/ends at .* LSN .*it reaches nothing earlier/) as unknown,
        hint: expect.stringContaining(first) as unknown,
      });
      await expect(site.plan(`time:${at.beforeFirst}`, { dataDirectory })).rejects.toMatchObject({
        code: 'refused',
        hint: expect.stringContaining('There is no earlier backup') as unknown,
      });
      expect(fs.existsSync(dataDirectory)).toBe(false);
    });

    it('refuses an unknown restore point', async () => {
      await expect(site.plan('name:never made')).rejects.toMatchObject({
        code: 'refused',
        message: 'there is no restore point "never made" in the archived WAL',
      });
    });

    it('refuses a directory with anything in it, a running one, and a relative one', async () => {
      const dataDirectory = site.directory();
      fs.mkdirSync(dataDirectory);
      fs.writeFileSync(path.join(dataDirectory, 'mine'), '');
      await expect(site.plan('latest', { dataDirectory })).rejects.toMatchObject({
        message: `${dataDirectory} is not empty`,
      });
      await expect(site.plan('latest', { dataDirectory: site.server.dataDir })).rejects.toMatchObject({
        message: `a server runs on ${site.server.dataDir}`,
      });
      await expect(site.plan('latest', { dataDirectory: 'here' })).rejects.toMatchObject({ code: 'refused' });
      expect(fs.readdirSync(dataDirectory)).toEqual(['mine']);
    });

    it('refuses a time after the last commit where nothing proves that no commit is missing, and clamps to it', async () => {
      const later = await site.now();
      await expect(site.plan(`time:${later}`)).rejects.toMatchObject({
        code: 'refused',
        message: expect.stringContaining('is after the last commit that is archived') as unknown,
        detail: expect.stringMatching(
          /the last commit that is archived is of \d{4}-.*, at LSN 0\/[0-9A-F]+\nthe last segment was closed at \d{4}-/,
        ) as unknown,
        hint: expect.stringContaining('--clamp') as unknown,
      });
      const result = await site.restore(`time:${later}`, { clamp: true });
      expect(result.rows).toEqual([1, 2, 3, 4]);
      expect(result.notes.join()).toContain('the end of the archive is taken instead');
    });

    it('reaches a quiet time after the last commit, and says so', async () => {
      const quiet = await site.now();
      await sleep(Number(quietMarginMicros) / 1000 + 500);
      await site.push();
      const result = await site.restore(`time:${quiet}`);
      expect(result.rows).toEqual([1, 2, 3, 4]);
      expect(result.notes.join()).toMatch(
        /^Nothing was committed between then and .* and WAL is archived up to /,
      );
      await site.insert(5);
      await site.push();
      expect((await site.restore(`time:${quiet}`)).rows).toEqual([1, 2, 3, 4]);
    });

    it('refuses an LSN behind the archive, and names the last record', async () => {
      await expect(site.plan('lsn:7/0')).rejects.toMatchObject({
        code: 'refused',
        message: 'LSN 7/0 is behind the end of the archive of WAL',
        detail: expect.stringMatching(/the last record that is archived begins at LSN 0\//) as unknown,
      });
      expect((await site.restore('lsn:7/0', { clamp: true })).rows).toEqual([1, 2, 3, 4, 5]);
    });
  },
);
