/**
 * The driver asks whether it runs on Cloudflare: by `navigator`, which Node has since 21, and without one by making a
 * Response. On Node 20 that loads the whole of Node's HTTP client (undici), the largest single cost of a start. Imported
 * before the driver.
 */
if (!('navigator' in globalThis)) {
  Object.defineProperty(globalThis, 'navigator', {
    value: { userAgent: `Node.js/${process.versions.node}` },
    configurable: true,
    enumerable: false,
    writable: true,
  });
}
export {};
