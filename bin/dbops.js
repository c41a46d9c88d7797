#!/usr/bin/env node
'use strict';
const fs = require('node:fs');
const path = require('node:path');
// Must run before the graph loads: a later call caches nothing. Node 20 has no such function.
require('node:module').enableCompileCache?.();
// These answers are made at build time: starting the module loader would take longer than all the rest.
const answers = { '--version': 'version.txt', '-V': 'version.txt', '--help': 'help.txt', '-h': 'help.txt' };
const file = path.join(__dirname, '..', 'dist', answers[process.argv[2]] ?? '');
if (process.argv.length === 3 && answers[process.argv[2]] !== undefined && fs.existsSync(file)) {
  process.stdout.on('error', () => undefined);
  process.stdout.write(fs.readFileSync(file));
} else {
  import('../dist/main.js');
}
