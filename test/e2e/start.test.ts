// What a start costs is held by what the entry imports, not by milliseconds.
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

interface Metafile {
  outputs: Record<
    string,
    { imports: { path: string; kind: string; external?: boolean }[]; inputs: Record<string, unknown> }
  >;
}

const dist = path.resolve(import.meta.dirname, '../../dist');

describe('the entry', () => {
  it('loads commander, the command table and nothing heavy before it knows the command', () => {
    const file = path.join(dist, 'meta.json');
    expect(fs.existsSync(file), 'run "npm run build" first').toBe(true);
    const { outputs } = JSON.parse(fs.readFileSync(file, 'utf8')) as Metafile;
    const inputs = staticInputs(outputs, 'dist/main.js');
    const packages = new Set(
      inputs.flatMap((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []),
    );
    expect([...packages]).toEqual(['commander']);
    expect(inputs.filter((input) => input.startsWith('src/')).sort()).toEqual([
      'src/cli.ts',
      'src/commands/index.ts',
      'src/errors.ts',
      'src/main.ts',
      'src/version.ts',
    ]);
  });
});

/** The sources of a chunk and of all chunks that it imports statically. */
function staticInputs(outputs: Metafile['outputs'], entry: string): string[] {
  const seen = new Set<string>();
  const queue = [entry];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    for (const item of outputs[name]?.imports ?? []) {
      if (item.kind === 'import-statement' && item.external !== true) queue.push(item.path);
    }
  }
  return [...seen].flatMap((name) => Object.keys(outputs[name]?.inputs ?? {}));
}
