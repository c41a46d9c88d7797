#!/usr/bin/env node
import module from 'node:module';
// Must run before the graph loads, hence alone here: a later call caches nothing. Node 20 has no such function.
module.enableCompileCache?.();
await import('../dist/main.js');
