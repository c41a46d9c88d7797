/** The version of the shape of our JSON documents; a field that vanishes or changes its meaning raises it. */
const schemaVersion = 1;

/** Big integers become numbers where they fit, else text; dates become ISO. */
export function toJson(value: unknown, indent = 2): string {
  return JSON.stringify(
    value,
    (_key, item: unknown) =>
      typeof item === 'bigint' ? (Number.isSafeInteger(Number(item)) ? Number(item) : String(item)) : item,
    indent,
  );
}

/** The one document of --json. */
export function resultDocument(command: string, data: unknown, warnings: string[]): string {
  return `${toJson({ schemaVersion, command, data, warnings })}\n`;
}
