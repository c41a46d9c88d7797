// A store that speaks S3 for the benchmark: versitygw in a directory of the run, on a free port.
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { versitygw } from '../../scripts/lib/versitygw.mjs';

export const credentials = { accessKeyId: 'bench', secretAccessKey: 'bench-secret' };
export const region = 'us-east-1';

/** @param {string} dir */
export async function startS3ForBench(dir) {
  const found = versitygw();
  if ('missing' in found) throw new Error(found.missing);
  const [data, meta] = ['s3-data', 's3-meta'].map((name) => path.join(dir, name));
  for (const folder of [data, meta]) fs.mkdirSync(/** @type {string} */ (folder), { recursive: true });
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const child = spawn(
    found.program,
    ['--port', `127.0.0.1:${port}`, '--quiet', 'posix', '--sidecar', meta ?? '', data ?? ''],
    {
      env: {
        ...process.env,
        ROOT_ACCESS_KEY: credentials.accessKeyId,
        ROOT_SECRET_KEY: credentials.secretAccessKey,
      },
      stdio: 'ignore',
    },
  );
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  const bucket = 'bench-archive';
  for (let attempt = 0; ; attempt += 1) {
    try {
      await client.send(new CreateBucketCommand({ Bucket: bucket }));
      break;
    } catch (error) {
      if (attempt > 100) throw error;
      await sleep(100);
    }
  }
  return {
    endpoint,
    bucket,
    yaml: [
      `    url: s3://${bucket}/dbops`,
      `    endpoint: ${endpoint}`,
      `    region: ${region}`,
      `    accessKeyId: ${credentials.accessKeyId}`,
      `    secretAccessKey: ${credentials.secretAccessKey}`,
    ].join('\n'),
    stop: async () => {
      client.destroy();
      child.kill('SIGTERM');
      await once(child, 'close');
    },
  };
}

/** @returns {Promise<number>} */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
