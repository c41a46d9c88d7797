const units: Record<string, number> = { b: 1, kb: 2 ** 10, mb: 2 ** 20, gb: 2 ** 30, tb: 2 ** 40 };

/** Upper and lower case are spelled out: a JSON Schema has no flags. */
export const sizePattern = '^\\s*\\d+(\\.\\d+)?\\s*([kKmMgGtT]?[bB])\\s*$';

/** Reads "10 GB" or "512MB" as bytes, in powers of 1024 as PostgreSQL does. Undefined when it is neither. */
export function parseSize(text: string): number | undefined {
  if (!new RegExp(sizePattern).test(text)) return undefined;
  const unit = text.replaceAll(/[\d.\s]/g, '').toLowerCase();
  return Math.round(Number.parseFloat(text) * (units[unit] ?? 1));
}
