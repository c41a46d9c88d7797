import { networkInterfaces } from 'node:os';

/**
 * Whether a server that calls itself by this address runs on another host; null: a socket. A container calls itself by
 * an address that this host has not.
 */
export function isOtherHost(serverAddress: string | null): boolean {
  if (serverAddress === null || /^(127\.|::1$)/.test(serverAddress)) return false;
  const own = Object.values(networkInterfaces()).flatMap((item) => item ?? []);
  return !own.some(({ address }) => address === serverAddress);
}
