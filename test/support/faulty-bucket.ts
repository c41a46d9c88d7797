// A bucket behind a proxy that disturbs requests, for tests of stores that fail.
import { openStore, type StoreOptions } from '../../src/storage/open.ts';
import type { Store } from '../../src/storage/store.ts';
import { startFaultProxy, type Fault, type FaultProxy, type ProxiedRequest } from './fault-proxy.ts';
import { startS3 } from './s3.ts';

/** The patience of a test. */
export const quick: StoreOptions = {
  partSizeBytes: 5 * 1024 * 1024,
  retryDelayMs: 5,
  attempts: 4,
  idleTimeoutMs: 1000,
};

export interface FaultyBucket {
  proxy: FaultProxy;
  /** The same bucket, past the proxy. */
  bucket: Store;
  /** The entry of the store "cold" in a configuration: the bucket, by way of the proxy. */
  yaml: string;
  /** Disturbs the first so many requests that are meant. */
  disturb: (isMeant: (request: ProxiedRequest) => boolean, fault: Fault, times?: number) => void;
  /** Disturbs nothing any more, and removes everything, unfinished uploads too. */
  empty: () => Promise<void>;
  stop: () => Promise<void>;
}

/** Starts it; the test stops it. */
export async function startFaultyBucket(): Promise<FaultyBucket> {
  const server = await startS3();
  const proxy = await startFaultProxy(server.endpoint);
  const bucket = await openStore(server.settings());
  return {
    proxy,
    bucket,
    yaml: server.yaml('cold', { endpoint: proxy.endpoint }),
    disturb: (isMeant, fault, times = Infinity) => {
      let left = times;
      proxy.decide((request) => {
        if (left === 0 || !isMeant(request)) return undefined;
        left -= 1;
        return fault;
      });
    },
    empty: async () => {
      proxy.decide(undefined);
      for await (const object of bucket.list('')) await bucket.delete(object.key);
      for await (const upload of bucket.listUploads('')) await bucket.abortUpload(upload);
    },
    stop: async () => {
      await bucket.close();
      await proxy.stop();
      await server.stop();
    },
  };
}
