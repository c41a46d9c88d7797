// Archives for tests, made by the command itself.
import { expect } from 'vitest';
import type { Workspace } from './workspace.ts';

/** Archives one partition to the stores of the workspace's configuration and returns the archive's id. */
export async function archivePartition(space: Workspace, name: string): Promise<string> {
  const run = await space.run(['archive', 'run', '--partition', name, '--until', 'verified', '--json']);
  expect(run.code, run.stderr).toBe(0);
  const { data } = JSON.parse(run.stdout) as { data: { partitions: { archive: string }[] } };
  return data.partitions[0]!.archive;
}
