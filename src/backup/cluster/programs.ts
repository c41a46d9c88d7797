import { dirname } from 'node:path';
import { DbopsError } from '../../errors.ts';
import type { Tool } from '../../process/tools.ts';

/** Programs of one installation of the server, by name. */
export type ClusterPrograms<Name extends string> = Record<Name, string> & { major: number; version: string };

/**
 * Programs of a server of this major, all from one folder, the newest minor first. Throws tool_failed naming what is
 * missing.
 */
export async function findClusterPrograms<Name extends string>(
  findTools: (names: string[]) => Promise<Tool[]>,
  major: number,
  names: readonly Name[],
): Promise<ClusterPrograms<Name>> {
  const found = (await findTools([...names])).filter((tool) => tool.version !== undefined);
  const ofMajor = found.filter((tool) => tool.major === major);
  const folders = [...new Set(ofMajor.map((tool) => dirname(tool.path)))]
    .map((folder) => ofMajor.filter((tool) => dirname(tool.path) === folder))
    .sort((a, b) => minorOf(b) - minorOf(a));
  const whole = folders.find((tools) => names.every((name) => tools.some((tool) => tool.name === name)));
  if (whole === undefined) {
    const has = folders[0] ?? [];
    const missing = names.filter((name) => !has.some((tool) => tool.name === name));
    throw new DbopsError(
      'tool_failed',
      `${missing.join(', ')} of PostgreSQL ${String(major)} is not installed on this host`,
      {
        detail: describeOthers(found, major),
        hint: `Install the server of that major (Debian and Ubuntu: apt-get install postgresql-${String(major)}), or put its folder on the PATH; a data directory can only be read by the major that wrote it.`,
      },
    );
  }
  const paths = Object.fromEntries(whole.map((tool) => [tool.name, tool.path])) as Record<Name, string>;
  return { ...paths, major, version: whole[0]?.version ?? String(major) };
}

function minorOf(tools: Tool[]): number {
  return Number.parseInt(tools[0]?.version?.split('.')[1] ?? '0', 10);
}

function describeOthers(tools: Tool[], major: number): string | undefined {
  const others = tools
    .filter((tool) => tool.major !== major)
    .map((tool) => `${tool.path} (${tool.version ?? ''})`);
  return others.length === 0 ? undefined : `found: ${others.join(', ')}`;
}
