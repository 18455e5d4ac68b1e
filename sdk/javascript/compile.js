'use strict';
// What the sandbox runs, in a process of its own that executes none of the function's code, before the first run of a version
// in TypeScript: docs/decisions/0062-typescript-is-compiled-once.md.

const { compileAll } = require('./lib/compiling.js');

exports.handler = compileAll;
