import { readlink } from 'node:fs/promises';
import type { Environment } from '../config/environment.ts';
import type { Settings } from '../config/settings.ts';

/** Schedulers that start with another environment than this shell has, and what helps there. */
const remedies = {
  cron: 'write what they hold into the configuration, a password into a file (passwordFile, ~/.pgpass)',
  systemd: 'write them into /etc/dbops/environment',
};

/**
 * Variables of this shell that the jobs would miss: what decides about the database, what the configuration fills in, and
 * the credentials of stores. A job that lacks one fails every night. Pure.
 */
export function environmentWarnings(
  { origins, files, stores }: Pick<Settings, 'origins' | 'files' | 'stores'>,
  env: Environment,
  scheduler: keyof typeof remedies,
): string[] {
  const decisive = origins.filter(({ path }) => /^(connection|state)\./.test(path));
  const hasBucket = stores.some(({ url }) => url.startsWith('s3:'));
  const names = new Set([
    ...decisive.flatMap(({ source }) => /^environment (\w+)$/.exec(source)?.[1] ?? []),
    ...files.flatMap(({ variables }) => variables),
    ...(hasBucket ? Object.keys(env).filter((name) => /^AWS_/.test(name)) : []),
  ]);
  const warnings: string[] = [];
  if (decisive.some(({ source }) => source === 'flag --url'))
    warnings.push(
      `the database comes from --url, which ${scheduler} does not give: write it under "connection:" in the configuration`,
    );
  if (names.size > 0)
    warnings.push(
      `${scheduler} does not have these variables of this shell: ${[...names].join(', ')}; ${remedies[scheduler]}`,
    );
  return warnings;
}

/**
 * Where TZ of this shell says another zone than the host does, of which cron may know nothing: times would be written for
 * the wrong one. `zone` is what this process works in.
 */
export async function zoneWarnings(zone: string, env: Environment): Promise<string[]> {
  if (env['TZ'] === undefined) return [];
  // A host without the link is in UTC.
  const link = await readlink('/etc/localtime').catch(() => '/usr/share/zoneinfo/UTC');
  const hosts = link.replace(/^.*\/zoneinfo\//, '').replace(/^Etc\//, '');
  if (hosts === zone.replace(/^Etc\//, '')) return [];
  return [
    `times are written for ${zone}, as TZ of this shell says, but the host is in ${hosts}: unset TZ unless cron has it, too`,
  ];
}
