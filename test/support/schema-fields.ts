// The fields of a JSON Schema, to hold the tables of the documents against.
export interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
}

/** Every field of a schema: `a.b`, and `a[].b` for those of elements. */
export function fieldsOf(schema: Schema, prefix = ''): string[] {
  const own = Object.entries(schema.properties ?? {}).flatMap(([name, value]) => {
    const field = prefix === '' ? name : `${prefix}.${name}`;
    return [field, ...fieldsOf(value, field)];
  });
  const elements = schema.items === undefined ? [] : fieldsOf(schema.items, `${prefix}[]`);
  return [...own, ...elements, ...(schema.anyOf ?? []).flatMap((item) => fieldsOf(item, prefix))];
}
