// A real S3 server for a test file: versitygw in a temporary directory on a free loopback port, or the one that
// DBOPS_TEST_S3_ENDPOINT names (with DBOPS_TEST_S3_ACCESS_KEY_ID, _SECRET_ACCESS_KEY and perhaps _REGION).
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { StoreSettings } from '../../src/config/stores.ts';
import { versitygw } from '../../scripts/lib/versitygw.mjs';
import { waitUntil } from './database.ts';

// The bundle does the same: what later versions of the SDK need is no news for a test.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';

export interface S3Server {
  /** http://127.0.0.1:port */
  endpoint: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** Made for this server alone. */
  bucket: string;
  /** A client of the SDK, to look at what dbops did. */
  client: S3Client;
  /** The settings of a store in this bucket; `over` replaces some, such as the endpoint by that of a proxy. */
  settings: (over?: Partial<StoreSettings>) => StoreSettings;
  /** The lines of dbops.yaml below `stores:`; the endpoint is that of the server unless it is given. */
  yaml: (name: string, options?: { prefix?: string; endpoint?: string }) => string;
  stop: () => Promise<void>;
}

/** Why there is no S3 server here; undefined where there is one. Tests skip with it: `context.skip(reason)`. */
export function whyNoS3(): string | undefined {
  if (external() !== undefined) return undefined;
  const found = versitygw();
  return 'missing' in found ? found.missing : undefined;
}

/** Starts a server with an empty bucket. */
export async function startS3(): Promise<S3Server> {
  const { endpoint, region, accessKeyId, secretAccessKey, stop } = external() ?? (await startVersitygw());
  const bucket = `dbops-${randomBytes(6).toString('hex')}`;
  const credentials = { accessKeyId, secretAccessKey };
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  // A container that was just started answers some seconds later.
  await waitUntil(() => isListening(endpoint), { timeoutMs: 30_000, what: 'the S3 server' });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  return {
    endpoint,
    region,
    accessKeyId,
    secretAccessKey,
    bucket,
    client,
    settings: (over = {}) => ({
      name: 's3',
      url: `s3://${bucket}/dbops`,
      region,
      endpoint,
      pathStyle: true,
      accessKeyId,
      secretAccessKey,
      ...over,
    }),
    yaml: (name, options = {}) =>
      [
        `  ${name}:`,
        `    url: s3://${bucket}/${options.prefix ?? 'dbops'}`,
        `    region: ${region}`,
        `    endpoint: ${options.endpoint ?? endpoint}`,
        '    pathStyle: true',
        `    accessKeyId: ${accessKeyId}`,
        `    secretAccessKey: ${secretAccessKey}`,
        '',
      ].join('\n'),
    stop: async () => {
      client.destroy();
      await stop();
    },
  };
}

type Running = Pick<S3Server, 'endpoint' | 'region' | 'accessKeyId' | 'secretAccessKey' | 'stop'>;

function external(): Running | undefined {
  const value = (name: string) => process.env[`DBOPS_TEST_S3_${name}`];
  const endpoint = value('ENDPOINT');
  if (endpoint === undefined || endpoint === '') return undefined;
  return {
    endpoint,
    region: value('REGION') ?? 'us-east-1',
    accessKeyId: value('ACCESS_KEY_ID') ?? '',
    secretAccessKey: value('SECRET_ACCESS_KEY') ?? '',
    stop: () => Promise.resolve(),
  };
}

async function startVersitygw(): Promise<Running> {
  const found = versitygw();
  if ('missing' in found) throw new Error(found.missing);
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'dbops-s3-'));
  const folders = ['meta', 'versions', 'data', 'iam'].map((name) => path.join(home, name));
  for (const folder of folders) fs.mkdirSync(folder);
  const [meta = '', versions = '', data = '', iam = ''] = folders;
  // Somebody else may take the free port before the server does.
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const args = ['--port', `127.0.0.1:${port}`, '--quiet', '--health', '/health', '--iam-dir', iam];
    const child = spawn(
      found.program,
      [...args, 'posix', '--sidecar', meta, '--versioning-dir', versions, data],
      {
        env: {
          PATH: process.env['PATH'],
          ROOT_ACCESS_KEY: 'dbops-test',
          ROOT_SECRET_KEY: 'dbops-test-secret',
        },
        stdio: 'ignore',
      },
    );
    const endpoint = `http://127.0.0.1:${port}`;
    try {
      await waitUntil(() => isOver(child) || isHealthy(endpoint), { timeoutMs: 20_000, what: 'versitygw' });
      if (isOver(child)) throw new Error('versitygw ended at once');
    } catch (error) {
      child.kill('SIGKILL');
      if (attempt === 3) throw error;
      continue;
    }
    return {
      endpoint,
      region: 'us-east-1',
      accessKeyId: 'dbops-test',
      secretAccessKey: 'dbops-test-secret',
      stop: async () => {
        if (!isOver(child)) {
          child.kill('SIGKILL');
          await once(child, 'exit');
        }
        fs.rmSync(home, { recursive: true, force: true });
      },
    };
  }
}

function isOver(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function isListening(endpoint: string): Promise<boolean> {
  try {
    await fetch(endpoint);
    return true;
  } catch {
    return false;
  }
}

async function isHealthy(endpoint: string): Promise<boolean> {
  try {
    return (await fetch(`${endpoint}/health`)).ok;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
