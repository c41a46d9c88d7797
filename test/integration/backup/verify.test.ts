import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { findVerifiedMark } from '../../../src/backup/catalogue/marks.ts';
import { surveyBackups } from '../../../src/backup/catalogue/survey.ts';
import { verifyBackups } from '../../../src/backup/verify/verify.ts';
import { DbopsError } from '../../../src/errors.ts';
import { silentLog } from '../../../src/output/log.ts';
import { openStore } from '../../../src/storage/open.ts';
import { filesIn as namesIn } from '../../support/archive-run.ts';
import { createBackupSite, type BackupSite } from '../../support/backups.ts';
import type { Workspace } from '../../support/workspace.ts';
import { createWorkspace } from '../../support/workspace.ts';
import { clientDirectory, whyNoDump } from '../../support/logical-backup.ts';
import { startPitrSite, whyNoPitr, type PitrSite } from '../../support/pitr.ts';

interface Finding {
  backup: string;
  store: string;
  object: string;
  problem: string;
  good: string[];
}
interface Verified {
  backups: { backup: string; good: string[]; bytesRead: number; findings: Finding[]; unknown: string[] }[];
  repaired: { backup: string; stores: string[] }[];
}

const filesIn = (folder: string) => namesIn(folder).map((name) => path.join(folder, name));

/** Alters one bit in the middle of a file. */
function flip(file: string): void {
  const bytes = fs.readFileSync(file);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  fs.writeFileSync(file, bytes);
}

async function verify(
  space: Pick<Workspace, 'run'>,
  args: string[],
  code: number,
): Promise<Verified & { findings: Finding[] }> {
  const env = { PATH: `${clientDirectory() ?? ''}:${process.env['PATH'] ?? ''}` };
  const result = await space.run(['backup', 'verify', '--json', ...args], env);
  expect(result.code, `${result.stdout}${result.stderr}`).toBe(code);
  const { data } = JSON.parse(result.stdout) as { data: Verified };
  return { ...data, findings: data.backups.flatMap((item) => item.findings) };
}

const noDump = whyNoDump();

describe.skipIf(noDump !== undefined)(
  `backup verify of dumps${noDump === undefined ? '' : `: ${noDump}`}`,
  () => {
    let site: BackupSite;
    const local = () => filesIn(site.folder).filter((file) => !/(verified|hold)\.json$/.test(file));
    const verifiedAt = async () =>
      (
        await site.db.query<{ at: Date | null }>('select verified_at as at from dbops.backup order by id')
      ).map((row) => row.at !== null);

    beforeAll(async () => {
      site = await createBackupSite('verify', 'required: 2');
      await site.db.query(
        'create table parts as select i, md5(i::text) as t from generate_series(1, 2000) as i',
      );
      await site.db.query("select lo_from_bytea(0, 'large')");
      for (const args of [
        ['logical'],
        ['logical', '--stream'],
        ['schema'],
        ['table', '--table', 'public.parts'],
      ]) {
        const { code, stderr } = await site.work.run(['backup', 'create', '--kind', ...args]);
        expect(code, stderr).toBe(0);
      }
    });

    it('reads every byte of every copy, and tells the stores and the ledger', async () => {
      const { backups, findings } = await verify(site.work, ['--all'], 0);
      expect([backups.length, findings]).toEqual([4, []]);
      expect(backups.map((item) => item.good)).toEqual(Array(4).fill(['local', 'offsite']));
      expect(backups.flatMap((item) => item.unknown)).toEqual([]);
      expect(await verifiedAt()).toEqual([true, true, true, true]);
      const marks = filesIn(site.folder).filter((file) => file.endsWith('/verified.json'));
      expect(marks).toHaveLength(4);
      expect(JSON.parse(fs.readFileSync(marks[0]!, 'utf8'))).toMatchObject({ passed: true, problems: [] });
    });

    it('finds one altered byte in each kind of stored file, names it and the good copy', async () => {
      const files = local().filter((file) => !file.endsWith('/manifest.json'));
      const kinds = new Set(files.map((file) => path.basename(file).replace(/\d+/, 'N')));
      for (const kind of ['toc.dat.zst', 'N.dat.zst', 'globals.sql.zst', 'dump.custom.zst', 'schema.sql.zst'])
        expect(kinds).toContain(kind);
      const before = new Map(files.map((file) => [file, fs.readFileSync(file)]));
      files.forEach(flip);
      const { findings } = await verify(site.work, ['--all'], 6);
      expect(findings.map((item) => path.join(site.folder, item.object)).sort()).toEqual(files.sort());
      expect(new Set(findings.map((item) => `${item.store} ${item.good.join()}`))).toEqual(
        new Set(['local offsite']),
      );
      // One good copy is enough to count as verified.
      expect(await verifiedAt()).toEqual([true, true, true, true]);
      for (const [file, bytes] of before) fs.writeFileSync(file, bytes);
      await verify(site.work, ['--all'], 0);
    });

    it('takes a store that fails for no damage, and lets the last verification stand', async () => {
      const survey = await surveyBackups([site.local, site.offsite], {
        signal: new AbortController().signal,
        jobs: 2,
      });
      const failing = await openStore({ name: 'local', url: `file://${site.folder}`, pathStyle: false });
      failing.get = () => Promise.reject(new DbopsError('store_failed', 'the store is away'));
      const [one] = survey.backups.filter((item) => item.copies.every((copy) => copy.manifest !== undefined));
      const copies = one!.copies.map((copy) =>
        copy.store === site.local ? { ...copy, store: failing } : copy,
      );
      const context = {
        programs: { zstd: undefined, tar: undefined, pgRestore: undefined },
        workDirectory: site.work.dir,
        walStores: [],
        walRequired: 1,
        required: 1,
        copies: ['local'],
        askPgbackrest: undefined,
        by: { dbops: '0', host: 'h', osUser: 'u' },
        signal: new AbortController().signal,
        log: silentLog,
        jobs: 1,
      };
      const mark = () => findVerifiedMark(site.local, copies[0]!.place);
      const before = await mark();
      const [result] = await verifyBackups(context, [{ ...one!, copies }], [], new Map());
      expect([result!.findings, result!.good]).toEqual([[], ['offsite']]);
      expect(result!.outages[0]).toEqual({ store: 'local', problem: 'the store is away' });
      expect(await mark()).toEqual(before);
    });

    it('finds an altered byte in the manifest, and a copy, a file or an end that is missing', async () => {
      const manifests = local().filter((file) => file.endsWith('/manifest.json'));
      const before = new Map(local().map((file) => [file, fs.readFileSync(file)]));
      manifests.forEach(flip);
      const altered = await verify(site.work, ['--all'], 6);
      expect(altered.findings.map((item) => path.join(site.folder, item.object)).sort()).toEqual(
        manifests.sort(),
      );
      for (const [file, bytes] of before) fs.writeFileSync(file, bytes);
      const [cut, gone] = local().filter((file) => file.endsWith('.dat.zst'));
      fs.truncateSync(cut!, 3);
      fs.rmSync(gone!);
      fs.rmSync(manifests[2]!);
      const { findings } = await verify(site.work, ['--all'], 6);
      expect(findings.map((item) => item.problem).sort()).toEqual([
        expect.stringMatching(/^it has 3 bytes, and \d+ were written/),
        'it is missing',
        'the ledger has a copy there, and there is none',
      ]);
    });

    it('repairs a copy from a good one, and both are good again', async () => {
      const { repaired } = await verify(site.work, ['--all', '--repair'], 6);
      expect(repaired.length).toBeGreaterThanOrEqual(2);
      expect((await verify(site.work, ['--all'], 0)).backups.map((item) => item.good)).toEqual(
        Array(4).fill(['local', 'offsite']),
      );
    });

    it('says that no copy is good, takes that back from the ledger, and needs no database', async () => {
      const [row] = await site.db.query<{ id: string; place: string }>(
        'select id, place from dbops.backup order by id limit 1',
      );
      const { id, place } = row!;
      for (const store of [site.local, site.offsite]) {
        const key = `${place}globals.sql.zst`;
        const bytes = Buffer.concat((await (await store.get(key)).toArray()) as Buffer[]);
        bytes[0] = (bytes[0] ?? 0) ^ 1;
        await store.put(key, bytes);
      }
      const { findings } = await verify(site.work, [id], 6);
      expect(findings.map((item) => [item.store, item.good])).toEqual([
        ['local', []],
        ['offsite', []],
      ]);
      expect(await verifiedAt()).toEqual([false, true, true, true]);
      const away = (args: string[], env: Record<string, string> = {}) =>
        site.work.run(args, { ...env, DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' });
      expect((await verify({ run: away }, ['--all'], 6)).findings).toHaveLength(2);
      expect((await site.run(['backup', 'verify'])).code).toBe(2);
      expect((await site.run(['backup', 'verify', 'nothing'])).code).toBe(2);
    });
  },
);

const noPitr = whyNoPitr();

describe.skipIf(noPitr !== undefined)(
  `backup verify of base backups${noPitr === undefined ? '' : `: ${noPitr}`}`,
  () => {
    let pitr: PitrSite;
    let work: Workspace;
    beforeAll(async () => {
      pitr = await startPitrSite();
      await pitr.insert(1);
      await pitr.base();
      work = createWorkspace(pitr.db, '');
      work.configure(
        `stores:\n  near: { url: "file://${pitr.near}" }\n  far: { url: "file://${pitr.far}" }\n`,
      );
    });
    const near = (ending: string) => filesIn(pitr.near).filter((file) => file.endsWith(ending));

    it('reads the cluster, its list of files and the WAL that it needs', async () => {
      const { backups } = await verify(work, ['--all'], 0);
      expect(backups.map((item) => item.good)).toEqual([['near', 'far']]);
    });

    it('finds an altered byte in the tar, in the list of files and in a segment', async () => {
      const [row] = (await verify(work, ['--all'], 0)).backups;
      const folder = path.dirname(near('/manifest.json')[0]!);
      const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'manifest.json'), 'utf8')) as {
        physical: { startWal: string };
      };
      const segment = near(`/${manifest.physical.startWal}.zst`)[0]!;
      const files = [...filesIn(folder).filter((file) => !/(manifest|verified)\.json$/.test(file)), segment];
      expect(files.length).toBeGreaterThanOrEqual(3);
      const before = new Map(files.map((file) => [file, fs.readFileSync(file)]));
      files.forEach(flip);
      const { findings } = await verify(work, [row!.backup], 6);
      expect(findings.map((item) => path.join(pitr.near, item.object)).sort()).toEqual(files.sort());
      for (const [file, bytes] of before) fs.writeFileSync(file, bytes);
    });

    it('finds a segment that is lost in every store: no copy of the backup is good then', async () => {
      const folder = path.dirname(near('/manifest.json')[0]!);
      const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'manifest.json'), 'utf8')) as {
        physical: { startWal: string };
      };
      const segments = [pitr.near, pitr.far].flatMap((store) =>
        filesIn(store).filter((file) => file.endsWith(`/${manifest.physical.startWal}.zst`)),
      );
      segments.forEach((file) => fs.renameSync(file, `${file}.away`));
      const { backups, findings } = await verify(work, ['--all'], 6);
      expect(backups[0]!.good).toEqual([]);
      expect(findings.map((item) => item.problem)).toContain(
        `WAL ${manifest.physical.startWal}, which it needs to be consistent, is whole in no store`,
      );
      segments.forEach((file) => fs.renameSync(`${file}.away`, file));
      await verify(work, ['--all'], 0);
    });
  },
);
