// What the tests of drills share: running one, reading its report, and looking for what must not be left behind.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { DrillReport, Outcome } from '../../src/backup/drill/report.ts';
import { parseBackupManifest, writeBackupManifest, type BackupManifest } from '../../src/backup/manifest.ts';
import type { CliResult } from './cli.ts';

/** A workspace in which drills are made below `drills`. */
export interface DrillSite {
  run: (args: string[], env?: Record<string, string>) => Promise<CliResult>;
  drills: string;
}

export interface DrillRun {
  code: number | null;
  stderr: string;
  report: DrillReport;
  /** The outcome of each proof, by name. */
  outcomes: Record<string, Outcome>;
  /** What a proof says. */
  detail: (name: string) => string;
}

/** Runs a drill that must come to a report, and looks that nothing of it is left. */
export async function drill(
  site: DrillSite,
  args: string[] = [],
  env: Record<string, string> = {},
): Promise<DrillRun> {
  const { code, stdout, stderr } = await site.run(['backup', 'drill', '--json', ...args], env);
  if (stdout === '') throw new Error(`backup drill ended with ${String(code)}: ${stderr}`);
  const { data: report } = JSON.parse(stdout) as { data: DrillReport };
  const left = leftOvers(site);
  if (report.keptIn === null && left.length > 0) throw new Error(`the drill left ${left.join(', ')}`);
  return {
    code,
    stderr,
    report,
    outcomes: Object.fromEntries(report.proofs.map((proof) => [proof.name, proof.outcome])),
    detail: (name) => report.proofs.find((proof) => proof.name === name)?.detail ?? '',
  };
}

/** Directories of drills, and servers that run in one. */
export function leftOvers(site: Pick<DrillSite, 'drills'>): string[] {
  const servers = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(`-D ${site.drills}/`));
  return [...fs.readdirSync(site.drills), ...servers];
}

/** Proofs that failed. */
export function failedIn({ outcomes }: DrillRun): string[] {
  return Object.keys(outcomes).filter((name) => outcomes[name] === 'failed');
}

/** Changes one byte in the middle of a stored file while `work` runs. */
export async function withFlippedByte<T>(file: string, work: () => Promise<T>): Promise<T> {
  const good = fs.readFileSync(file);
  const bad = Buffer.from(good);
  bad[bad.length >> 1]! ^= 0x10;
  fs.writeFileSync(file, bad);
  try {
    return await work();
  } finally {
    fs.writeFileSync(file, good);
  }
}

/** Changes what the manifest of a backup says while `work` runs. */
export async function withManifest<T>(
  folder: string,
  change: (manifest: BackupManifest) => void,
  work: () => Promise<T>,
): Promise<T> {
  const file = path.join(folder, 'manifest.json');
  const good = fs.readFileSync(file, 'utf8');
  const manifest = parseBackupManifest(good, file);
  change(manifest);
  fs.writeFileSync(file, writeBackupManifest(manifest));
  try {
    return await work();
  } finally {
    fs.writeFileSync(file, good);
  }
}

/** A directory for drills that the user of the scratch server can enter. */
export function drillDirectory(dir: string): string {
  const drills = path.join(dir, 'drills');
  fs.mkdirSync(drills, { recursive: true });
  fs.chmodSync(dir, 0o755);
  return drills;
}
