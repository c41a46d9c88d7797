import type { Settings } from '../config/settings.ts';
import type { Tool } from '../process/tools.ts';
import { finding, ok, type Finding } from './finding.ts';

/** The programs that are looked for. */
export const clientTools = ['psql', 'pg_dump', 'pg_basebackup', 'zstd'];

const leastNode = [20, 19] as const;

/** What can be said of the host. `serverMajor` is undefined when no server could be asked. Pure. */
export function checkHost(
  settings: Pick<Settings, 'files'>,
  nodeVersion: string,
  tools: Tool[],
  serverMajor: number | undefined,
): Finding[] {
  return [
    checkNode(nodeVersion),
    checkFiles(settings),
    ...clientTools.map((name) =>
      checkTool(
        name,
        tools.filter((tool) => tool.name === name),
        serverMajor,
      ),
    ),
  ];
}

function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  const isEnough = major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1]);
  const text = `Node ${version.replace(/^v/, '')}`;
  return isEnough
    ? ok('host.node', text)
    : finding('host.node', 'crit', text, `Install Node ${leastNode.join('.')} or later.`);
}

function checkFiles({ files }: Pick<Settings, 'files'>): Finding {
  if (files.length === 0) {
    return finding(
      'host.config',
      'warn',
      'no configuration file was found',
      'Write one with "dbops init", or name one with --config.',
    );
  }
  return ok('host.config', files.map((file) => `${file.path} (${file.kind} file)`).join(', '));
}

/** pg_dump refuses a server newer than itself, psql and pg_basebackup lose features. */
function checkTool(name: string, found: Tool[], serverMajor: number | undefined): Finding {
  const check = `host.${name}`;
  const usable = found.filter((tool) => tool.version !== undefined);
  const shown = usable.map((tool) => `${tool.version ?? ''} (${tool.path})`).join(', ');
  const isPostgres = name !== 'zstd';
  const aptPackage = isPostgres ? `postgresql-client-${String(serverMajor ?? 18)}` : 'zstd';
  const hint = `apt-get install ${aptPackage}${isPostgres ? ' (from apt.postgresql.org where the system has another major)' : ''}`;
  if (found.length === 0)
    return finding(check, 'warn', `${name} was not found; partitions do not need it`, hint);
  if (usable.length === 0) {
    const paths = found.map((tool) => tool.path).join(', ');
    return finding(check, 'unknown', `${name} did not say its version: ${paths}`, hint);
  }
  const newest = Math.max(...usable.map((tool) => tool.major ?? 0));
  if (isPostgres && serverMajor !== undefined && newest < serverMajor) {
    return finding(check, 'warn', `${name} ${shown} is older than the server (${String(serverMajor)})`, hint);
  }
  return ok(check, `${name} ${shown}`);
}
