// An HTTP proxy in front of a real S3 server that misbehaves as its test says, and keeps what was asked, in order.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

/** A request as the store got it, or would have. */
export interface ProxiedRequest {
  /** 1 for the first. */
  number: number;
  method: string;
  /** As S3 calls it: PutObject, UploadPart, CompleteMultipartUpload, GetObject, ListObjectsV2 ... */
  verb: string;
  bucket: string;
  /** Decoded; empty for requests to the bucket. */
  key: string;
  /** partNumber, uploadId, prefix ... */
  query: URLSearchParams;
  headers: NodeJS.Dict<string | string[]>;
  /** Milliseconds since 1970. */
  startedAt: number;
  /** When the answer was complete, or the connection was cut; undefined while it is under way. */
  finishedAt: number | undefined;
  /** What the caller saw; undefined where it saw nothing. */
  status: number | undefined;
}

export type Fault =
  /** Answers without asking the store, as S3 does: with a code such as SlowDown in XML, or with no body. */
  | { kind: 'answer'; status: number; code?: string; more?: string; headers?: Record<string, string> }
  /** Takes the request and says nothing more. */
  | { kind: 'hang' }
  /** Cuts the connection once so many bytes of the request's body came; the store never hears of it. */
  | { kind: 'cut-request'; afterBytes: number }
  /** Lets the store do it, and cuts the connection instead of passing on the answer. */
  | { kind: 'lose-answer' }
  /** Cuts the connection, or stops sending, after so many bytes of the answer's body. */
  | { kind: 'cut-response' | 'hang-response'; afterBytes: number }
  /** Ends the body early with lengths that agree: only a hash can tell. */
  | { kind: 'shorten'; toBytes: number }
  /** Flips a bit of the byte at this place of the answer's body. */
  | { kind: 'alter'; atByte: number }
  /** Answers as if the part or object had been taken, and drops it. */
  | { kind: 'lose' }
  /** Waits before passing the request on. */
  | { kind: 'delay'; ms: number };

export const slowDown: Fault = { kind: 'answer', status: 503, code: 'SlowDown' };
export const internalError: Fault = { kind: 'answer', status: 500, code: 'InternalError' };
export const accessDenied: Fault = { kind: 'answer', status: 403, code: 'AccessDenied' };
export const storageFull: Fault = { kind: 'answer', status: 507, code: 'InsufficientStorage' };

/** Which fault a request meets; undefined: none. */
export type Decide = (request: ProxiedRequest) => Fault | undefined;

export interface FaultProxy {
  /** http://127.0.0.1:port, for `endpoint`. */
  endpoint: string;
  /** Replaces the rule; without one nothing is disturbed. */
  decide: (rule: Decide | undefined) => void;
  /** Everything that was asked since the start or the last forget(), in the order of arrival. */
  requests: () => ProxiedRequest[];
  forget: () => void;
  stop: () => Promise<void>;
}

/** Starts a proxy in front of an S3 server with path style; `target` is http://host:port. */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const agent = new Agent({ keepAlive: true });
  const sockets = new Set<Socket>();
  let rule: Decide | undefined;
  let seen: ProxiedRequest[] = [];
  let count = 0;
  const server = createServer((incoming, outgoing) => {
    count += 1;
    const record = describe(incoming, count);
    seen.push(record);
    const finish = () => (record.finishedAt ??= Date.now());
    outgoing.on('close', finish);
    // A caller that hangs up is part of the tests.
    incoming.on('error', finish);
    outgoing.on('error', finish);
    const fault = rule?.(record);
    void serve({ incoming, outgoing, record, target: new URL(target), agent }, fault).catch(() =>
      incoming.socket.destroy(),
    );
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.requestTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    decide: (next) => (rule = next),
    requests: () => seen,
    forget: () => (seen = []),
    stop: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      agent.destroy();
      await once(server, 'close');
    },
  };
}

interface Exchange {
  incoming: IncomingMessage;
  outgoing: ServerResponse;
  record: ProxiedRequest;
  target: URL;
  agent: Agent;
}

async function serve(exchange: Exchange, fault: Fault | undefined): Promise<void> {
  const { incoming, outgoing, record } = exchange;
  switch (fault?.kind) {
    case 'answer':
      incoming.resume();
      await once(incoming, 'end');
      answer(outgoing, record, fault);
      return;
    case 'hang':
      incoming.resume();
      return;
    case 'cut-request':
      cutRequest(incoming, fault.afterBytes);
      return;
    case 'lose': {
      const body = await buffer(incoming);
      record.status = 200;
      outgoing.writeHead(200, { etag: `"${createHash('md5').update(body).digest('hex')}"` }).end();
      return;
    }
    case 'delay':
      await sleep(fault.ms);
      return passOn(exchange, undefined);
    default:
      return passOn(exchange, fault);
  }
}

function answer(
  outgoing: ServerResponse,
  record: ProxiedRequest,
  fault: Extract<Fault, { kind: 'answer' }>,
): void {
  record.status = fault.status;
  const { code = '' } = fault;
  const xml = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${code} by the test</Message>${fault.more ?? ''}</Error>`;
  outgoing.writeHead(fault.status, { 'content-type': 'application/xml', ...fault.headers });
  outgoing.end(record.method === 'HEAD' || fault.code === undefined ? undefined : xml);
}

function cutRequest(incoming: IncomingMessage, afterBytes: number): void {
  let bytes = 0;
  const cut = () => incoming.socket.destroy();
  incoming.on('data', (chunk: Buffer) => {
    bytes += chunk.byteLength;
    if (bytes >= afterBytes) cut();
  });
  incoming.on('end', cut);
}

async function passOn(
  { incoming, outgoing, record, target, agent }: Exchange,
  fault: Fault | undefined,
): Promise<void> {
  const upstream = httpRequest({
    host: target.hostname,
    port: target.port,
    method: incoming.method,
    path: incoming.url,
    // The Host header is part of the signature, so it stays that of the proxy.
    headers: incoming.headers,
    agent,
  });
  incoming.pipe(upstream);
  incoming.on('close', () => {
    if (!incoming.complete) upstream.destroy();
  });
  const [response] = (await once(upstream, 'response')) as [IncomingMessage];
  if (fault?.kind === 'lose-answer') {
    response.resume();
    await once(response, 'end');
    incoming.socket.destroy();
    return;
  }
  record.status = response.statusCode;
  const headers = { ...response.headers };
  if (fault?.kind === 'shorten' && headers['content-length'] !== undefined) {
    headers['content-length'] = String(Math.min(fault.toBytes, Number(headers['content-length'])));
  }
  outgoing.writeHead(response.statusCode ?? 502, headers);
  outgoing.flushHeaders();
  let offset = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    const { bytes, isLast } = disturb(chunk, offset, fault);
    offset += chunk.byteLength;
    if (bytes.byteLength > 0 && !outgoing.write(bytes)) await writable(outgoing);
    if (outgoing.destroyed) return;
    if (!isLast) continue;
    // What was written has to leave before the cut.
    if (fault?.kind === 'cut-response') setTimeout(() => incoming.socket.destroy(), 20);
    if (fault?.kind === 'shorten') outgoing.end();
    return;
  }
  outgoing.end();
}

/** Until more can be written, or the caller has hung up. */
async function writable(outgoing: ServerResponse): Promise<void> {
  const settled = new AbortController();
  const { signal } = settled;
  await Promise.race([once(outgoing, 'drain', { signal }), once(outgoing, 'close', { signal })]);
  settled.abort();
}

/** A chunk as the caller gets it, and whether nothing follows it. */
function disturb(
  chunk: Buffer,
  offset: number,
  fault: Fault | undefined,
): { bytes: Buffer; isLast: boolean } {
  switch (fault?.kind) {
    case 'cut-response':
    case 'hang-response':
    case 'shorten': {
      const left = (fault.kind === 'shorten' ? fault.toBytes : fault.afterBytes) - offset;
      return { bytes: chunk.subarray(0, Math.max(0, left)), isLast: left <= chunk.byteLength };
    }
    case 'alter': {
      const at = fault.atByte - offset;
      const bytes = Buffer.from(chunk);
      if (at >= 0 && at < bytes.byteLength) bytes[at] = bytes[at]! ^ 1;
      return { bytes, isLast: false };
    }
    default:
      return { bytes: chunk, isLast: false };
  }
}

function describe(incoming: IncomingMessage, number: number): ProxiedRequest {
  const url = new URL(incoming.url ?? '/', 'http://proxy');
  const [, bucket = '', ...parts] = url.pathname.split('/').map(decodeURIComponent);
  const method = incoming.method ?? '';
  const key = parts.join('/');
  return {
    number,
    method,
    verb: verbOf(method, key, url.searchParams),
    bucket,
    key,
    query: url.searchParams,
    headers: incoming.headers,
    startedAt: Date.now(),
    finishedAt: undefined,
    status: undefined,
  };
}

function verbOf(method: string, key: string, query: URLSearchParams): string {
  const isUpload = query.has('uploadId');
  if (key === '') {
    if (method !== 'GET') return method === 'HEAD' ? 'HeadBucket' : `${method} bucket`;
    return query.has('uploads') ? 'ListMultipartUploads' : 'ListObjectsV2';
  }
  switch (method) {
    case 'PUT':
      return isUpload ? 'UploadPart' : 'PutObject';
    case 'POST':
      if (query.has('restore')) return 'RestoreObject';
      return isUpload ? 'CompleteMultipartUpload' : 'CreateMultipartUpload';
    case 'DELETE':
      return isUpload ? 'AbortMultipartUpload' : 'DeleteObject';
    case 'HEAD':
      return 'HeadObject';
    default:
      return isUpload ? 'ListParts' : 'GetObject';
  }
}
