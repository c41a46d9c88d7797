import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/**
 * The layers, from the outside in: main -> cli -> commands -> domain -> sql -> pg.
 * Each folder may import what stands in its list (and itself); everything else is refused.
 */
const shared = ['errors', 'config', 'output', 'process'];
/** What health looks at: nearly all there is. */
const watched = [
  'backup',
  'archive',
  'catalogue',
  'schedule',
  'maintenance',
  'indexes',
  'inspect',
  'partition',
  'plan',
  'state',
  'sql',
  'pg',
  'storage',
  ...shared,
];
const layers = {
  pg: ['errors'],
  sql: ['pg', 'errors'],
  config: ['errors'],
  output: ['errors'],
  process: ['errors'],
  storage: ['config', 'errors'],
  state: ['sql', 'pg', ...shared],
  plan: ['sql', 'pg', ...shared],
  partition: ['plan', 'state', 'sql', 'pg', ...shared],
  catalogue: ['plan', 'sql', 'pg', 'storage', ...shared],
  archive: ['catalogue', 'partition', 'plan', 'state', 'sql', 'pg', 'storage', ...shared],
  backup: ['archive', 'catalogue', 'partition', 'plan', 'state', 'sql', 'pg', 'storage', ...shared],
  rows: ['plan', 'state', 'sql', 'pg', ...shared],
  indexes: ['partition', 'plan', 'state', 'sql', 'pg', ...shared],
  maintenance: ['indexes', 'partition', 'plan', 'state', 'sql', 'pg', ...shared],
  schedule: ['state', 'sql', 'pg', ...shared],
  inspect: ['sql', 'pg', ...shared],
  health: watched,
  doctor: ['backup', 'partition', 'plan', 'state', 'sql', 'pg', 'storage', ...shared],
  commands: ['doctor', 'health', 'rows', ...watched],
};
const folders = Object.keys(layers);

/** Packages that one place alone may import, so that they can be replaced and stay out of the start. */
const ownedPackages = {
  pg: ['src/pg/'],
  execa: ['src/process/'],
  pino: ['src/output/json-log.ts'],
  commander: ['src/commands/', 'src/cli.ts', 'src/main.ts'],
  yaml: ['src/config/'],
  'zod/mini': [
    'src/config/',
    'src/archive/manifest.ts',
    'src/archive/definition/definition.ts',
    'src/backup/manifest.ts',
    'src/backup/pgbackrest/info.ts',
  ],
  zod: [
    'src/config/',
    'src/archive/manifest.ts',
    'src/archive/definition/definition.ts',
    'src/backup/manifest.ts',
  ],
  '@aws-sdk/client-s3': ['src/storage/s3'],
  '@duckdb/node-api': ['src/archive/parquet/duckdb.ts'],
};

function forbiddenPackages(place) {
  return Object.entries(ownedPackages)
    .filter(([, owners]) => !owners.some((owner) => place.startsWith(owner) || owner.startsWith(place)))
    .map(([name]) => ({ name, message: `${name} is imported from ${ownedPackages[name].join(', ')} only.` }));
}

const layerRules = folders.map((folder) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        paths: forbiddenPackages(`src/${folder}/`),
        patterns: [
          ...folders
            .filter((other) => other !== folder && !layers[folder].includes(other))
            .map((other) => ({
              regex: `^(\\.\\./)+${other}/`,
              message: `src/${folder} may import ${layers[folder].join(', ')}; imports go one way.`,
            })),
          { regex: '^(\\.\\./)+(main|cli)\\.ts$', message: 'Nothing imports the process edge.' },
        ],
      },
    ],
    'no-restricted-globals': folder === 'commands' ? 'off' : ['error', 'process', 'console'],
    'no-console': 'error',
  },
}));

export default defineConfig(
  globalIgnores(['dist', 'coverage']),
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      eqeqeq: 'error',
    },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        URL: 'readonly',
        Buffer: 'readonly',
      },
    },
  },
  {
    files: ['bin/**/*.js'],
    languageOptions: {
      sourceType: 'commonjs',
      globals: { require: 'readonly', __dirname: 'readonly', process: 'readonly' },
    },
  },
  ...layerRules,
  {
    files: ['src/output/**/*.ts', 'src/process/**/*.ts', 'src/config/environment.ts', 'src/pg/runtime.ts'],
    rules: { 'no-restricted-globals': 'off' },
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off' },
  },
);
