import * as z from 'zod/mini';
import { fileSchema } from './schema.ts';

/** The JSON Schema of the file, for editors. */
export function jsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(fileSchema, { io: 'input' });
  return { title: 'dbops.yaml', ...schema };
}
