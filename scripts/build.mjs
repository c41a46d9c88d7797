// Bundles src/main.ts into dist/: ES modules with code splitting, so that a command loads only what it uses.
import { build } from 'esbuild';
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));

await rm(join(root, 'dist'), { recursive: true, force: true });
/**
 * commander loads node:child_process for subcommands that are programs of their own; dbops has none, and the module
 * costs a tenth of a start.
 * @type {import('esbuild').Plugin}
 */
const lazyChildProcess = {
  name: 'lazy-child-process',
  setup(context) {
    context.onLoad({ filter: /commander[\\/]lib[\\/]command\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const line = /const childProcess = require\('(?:node:)?child_process'\)(?:\.[a-z.]+)?;/;
      if (!line.test(source))
        throw new Error('commander no longer loads child_process where the build expects it');
      return {
        contents: source.replace(
          line,
          "const childProcess = { spawn: (...a) => require('node:child_process').spawn(...a) };",
        ),
      };
    });
  },
};

const result = await build({
  absWorkingDir: root,
  entryPoints: ['src/main.ts'],
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // The AWS SDK as modules: only what is used of it is bundled, and loaded.
  mainFields: ['module', 'main'],
  minifySyntax: true,
  minifyWhitespace: true,
  keepNames: false,
  metafile: true,
  sourcemap: 'linked',
  sourcesContent: false,
  legalComments: 'none',
  // DuckDB is a native library that its users install beside dbops.
  external: ['pg-native', '@duckdb/node-api'],
  plugins: [lazyChildProcess],
  define: {
    __DBOPS_VERSION__: JSON.stringify(version),
    // The bundled SDK runs on this Node; what its later versions will need is no news for an operator.
    'process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED': '"true"',
  },
  // CommonJS packages inside an ES module bundle call require for Node's own modules.
  banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
});
await writeFile(join(root, 'dist', 'meta.json'), JSON.stringify(result.metafile));
for (const answer of ['version', 'help']) {
  const { stdout } = await promisify(execFile)(process.execPath, [
    join(root, 'dist', 'main.js'),
    `--${answer}`,
  ]);
  await writeFile(join(root, 'dist', `${answer}.txt`), stdout);
}
await writeNotices(Object.keys(result.metafile.inputs));

/**
 * The licences of the bundled packages require that their notices travel with the bundle.
 * @param {string[]} inputs
 */
async function writeNotices(inputs) {
  const names = new Set();
  for (const input of inputs) {
    const match = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (match) names.add(match[1]);
  }
  // Packages of one house share a text, which is then there once.
  /** @type {Map<string, string[]>} */
  const texts = new Map();
  for (const name of [...names].sort()) {
    const folder = join(root, 'node_modules', name);
    const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    let text = '';
    for (const file of ['LICENSE', 'LICENSE.md', 'license', 'LICENCE', 'LICENSE.txt', 'License']) {
      text = await readFile(join(folder, file), 'utf8').catch(() => '');
      if (text) break;
    }
    const title = `${name} ${manifest.version} (${manifest.license})`;
    texts.set(text.trim(), [...(texts.get(text.trim()) ?? []), title]);
  }
  const parts = [...texts].map(([text, titles]) => `${titles.join('\n')}\n\n${text}\n`);
  await writeFile(join(root, 'dist', 'THIRD-PARTY-NOTICES.txt'), parts.join(`\n${'-'.repeat(72)}\n\n`));
}
