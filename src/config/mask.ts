/** What must not be shown: a password inside a url is hidden, anything else that is secret is hidden whole. */
export function mask(text: string): string {
  if (!/^[\w+.-]+:\/\//.test(text)) return '***';
  return text
    .replaceAll(/([?&](?:ssl)?password=)[^&]*/gi, '$1***')
    .replace(/^([\w+.-]+:\/\/[^:/@]*):.*@/s, '$1:***@');
}
