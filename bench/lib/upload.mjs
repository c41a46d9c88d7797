// upload.mjs <endpoint> <bucket> <key>: what "| aws s3 cp - s3://..." does, without the start of another runtime.
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { credentials, region } from './s3.mjs';

const PART_BYTES = 16 * 1024 * 1024;
const [endpoint, Bucket, Key] = process.argv.slice(2);
if (!endpoint || !Bucket || !Key) throw new Error('usage: upload.mjs <endpoint> <bucket> <key>');

const client = new S3Client({
  endpoint,
  region,
  credentials,
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
});
const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
/** @type {{ ETag: string | undefined, PartNumber: number }[]} */
const parts = [];
/** @type {Promise<void>[]} */
const inFlight = [];
/** @type {Buffer[]} */
let chunks = [];
let length = 0;
let partNumber = 0;
for await (const chunk of process.stdin) {
  chunks.push(chunk);
  length += chunk.length;
  if (length >= PART_BYTES) await send();
}
if (length > 0) await send();
await Promise.all(inFlight);
parts.sort((a, b) => a.PartNumber - b.PartNumber);
await client.send(
  new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: parts } }),
);

async function send() {
  const Body = Buffer.concat(chunks);
  chunks = [];
  length = 0;
  partNumber += 1;
  const PartNumber = partNumber;
  if (inFlight.length >= 2) await inFlight.shift();
  inFlight.push(
    client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body })).then(({ ETag }) => {
      parts.push({ ETag, PartNumber });
    }),
  );
}
