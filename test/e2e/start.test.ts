// What a start costs is held by what the entry imports, not by milliseconds.
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

interface Metafile {
  outputs: Record<
    string,
    {
      entryPoint?: string;
      imports: { path: string; kind: string; external?: boolean }[];
      inputs: Record<string, unknown>;
    }
  >;
}

const dist = path.resolve(import.meta.dirname, '../../dist');

function load(): Metafile['outputs'] {
  const file = path.join(dist, 'meta.json');
  expect(fs.existsSync(file), 'run "npm run build" first').toBe(true);
  return (JSON.parse(fs.readFileSync(file, 'utf8')) as Metafile).outputs;
}

const packagesOf = (inputs: string[]) => [
  ...new Set(inputs.flatMap((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? [])),
];
const sourcesOf = (inputs: string[]) => inputs.filter((input) => input.startsWith('src/')).sort();

/** The chunk that a source file begins. */
function chunkOf(outputs: Metafile['outputs'], source: string): string {
  const found = Object.entries(outputs).find(([, output]) => output.entryPoint === source);
  expect(found, `a chunk for ${source}`).toBeDefined();
  return found![0];
}

describe('a start', () => {
  it('needs two small files of ours to tell the version', () => {
    const inputs = staticInputs(load(), 'dist/main.js');
    expect(packagesOf(inputs)).toEqual([]);
    expect(sourcesOf(inputs)).toEqual(['src/main.ts', 'src/version.ts']);
  });

  it('loads commander, the command table and nothing heavy before it knows the command', () => {
    const outputs = load();
    const inputs = staticInputs(outputs, chunkOf(outputs, 'src/cli.ts'));
    expect(packagesOf(inputs)).toEqual(['commander']);
    expect(sourcesOf(inputs)).toEqual([
      'src/cli.ts',
      'src/commands/index.ts',
      'src/errors.ts',
      'src/version.ts',
    ]);
  });

  it('loads neither pino, execa nor a table printer for the commands of every night', () => {
    const outputs = load();
    const inputs = staticInputs(outputs, chunkOf(outputs, 'src/commands/groups/daily.ts'));
    expect(packagesOf(inputs)).toContain('zod');
    for (const name of ['pino', 'execa', 'cli-table3']) expect(packagesOf(inputs)).not.toContain(name);
  });

  it('loads no driver of the database for the commands that PostgreSQL waits for', () => {
    const outputs = load();
    const inputs = staticInputs(outputs, chunkOf(outputs, 'src/commands/groups/wal.ts'));
    expect(packagesOf(inputs).sort()).toEqual(['commander', 'yaml', 'zod']);
    expect(sourcesOf(inputs).filter((source) => /^src\/(pg|sql|partition|archive)\//.test(source))).toEqual(
      [],
    );
  });

  it('loads the AWS SDK only once a store at S3 is opened', () => {
    const outputs = load();
    const isAws = (name: string) => /^@(aws-sdk|smithy)\//.test(name);
    const groups = Object.values(outputs).flatMap(({ entryPoint = '' }) =>
      /^src\/(cli|commands\/.*)\.ts$/.test(entryPoint) ? [entryPoint] : [],
    );
    expect(groups.length).toBeGreaterThan(2);
    for (const group of groups) {
      expect(packagesOf(staticInputs(outputs, chunkOf(outputs, group))).filter(isAws), group).toEqual([]);
    }
    expect(
      packagesOf(staticInputs(outputs, chunkOf(outputs, 'src/storage/s3.ts'))).filter(isAws),
    ).not.toEqual([]);
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
