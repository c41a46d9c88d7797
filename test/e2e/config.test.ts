import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { runDbops } from '../support/cli.ts';

const example = path.resolve(import.meta.dirname, '../../examples/ai-factory/dbops.yaml');

/** Runs in a directory of its own that holds this dbops.yaml. */
async function withFile<T>(text: string, work: (cwd: string) => Promise<T>): Promise<T> {
  const cwd = fs.mkdtempSync(path.join(process.env['TMPDIR'] ?? '/tmp', 'dbops-e2e-'));
  try {
    fs.writeFileSync(path.join(cwd, 'dbops.yaml'), text);
    return await work(cwd);
  } finally {
    fs.rmSync(cwd, { recursive: true, force: true });
  }
}

describe('config check', () => {
  it('says valid, with what was read', async () => {
    const { code, stdout, stderr } = await runDbops(['config', 'check', '--config', example]);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `valid: ${example} (given file); 15 partitioned tables\n`,
      stderr: '',
    });
  });

  it('prints all errors at once, each with its place', async () => {
    await withFile('defaults: { premak: 1 }\npartitions: [{ table: a }]\n', async (cwd) => {
      const { code, stdout, stderr } = await runDbops(['config', 'check'], { cwd });
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toContain('dbops.yaml has 3 errors\n');
      expect(stderr).toContain('dbops.yaml:1: defaults.premak: unknown key; did you mean "premake"?\n');
      expect(stderr).toContain('dbops.yaml:2: partitions[0].interval: is missing\n');
      expect(stderr).toContain('hint: ');
    });
  });

  it('refuses a naming by which two partitions would be called the same', async () => {
    const text = 'partitions: [{ table: a, key: at, interval: day, naming: "{table}_{yyyy}{mm}" }]\n';
    await withFile(text, async (cwd) => {
      const { code, stderr } = await runDbops(['config', 'check'], { cwd });
      expect(code).toBe(2);
      expect(stderr).toContain(
        'dbops.yaml:1: partitions[0].naming: {table}_{yyyy}{mm}: two partitions would get the same name',
      );
    });
  });

  it('exits 2 when there is no file, and warns of what is valid but hardly meant', async () => {
    expect((await runDbops(['config', 'check'])).code).toBe(2);
    await withFile('partitions: [{ table: a, key: at, interval: day, premake: 0 }]\n', async (cwd) => {
      const { code, stderr } = await runDbops(['config', 'check'], { cwd });
      expect(code).toBe(0);
      expect(stderr).toContain('public.a gets no partition ahead');
    });
  });
});

describe('config show', () => {
  it('names each source, hides secrets, completes the tables, and needs no database', async () => {
    const text = 'defaults: { premake: 3 }\npartitions: [{ table: a, key: at, interval: day }]\n';
    await withFile(text, async (cwd) => {
      const env = { DATABASE_URL: 'postgresql://me:hunter2@nowhere.invalid/x', PGPASSWORD: 'hunter3' };
      const people = await runDbops(['config', 'show'], { cwd, env });
      expect(people.code).toBe(0);
      expect(people.stdout).not.toMatch(/hunter/);
      expect(people.stdout).toMatch(
        /^connection\.url +postgresql:\/\/me:\*\*\*@nowhere\.invalid\/x +environment DATABASE_URL$/m,
      );
      expect(people.stdout).toMatch(/^defaults\.premake +3 +.*dbops\.yaml \(project file\)$/m);
      const { stdout } = await runDbops(['config', 'show', '--json'], { cwd, env });
      const { data } = JSON.parse(stdout) as { data: { partitions: unknown[] } };
      expect(data.partitions).toEqual([
        {
          table: 'public.a',
          key: 'at',
          interval: 'day',
          timezone: 'UTC',
          premake: 3,
          naming: '{table}_y{yyyy}m{mm}d{dd}',
          retention: 'kept',
          quarantine: '7 days',
          storageParameters: {},
        },
      ]);
    });
  });
});

describe('config schema', () => {
  it('is a JSON Schema', async () => {
    const { stdout } = await runDbops(['config', 'schema']);
    expect(JSON.parse(stdout)).toMatchObject({
      title: 'dbops.yaml',
      type: 'object',
      properties: { partitions: { type: 'array' } },
    });
  });
});
