'use strict';
// Worker threads whose reserved memory fits into a function's limit.

const { syncBuiltinESMExports } = require('node:module');
const threads = require('node:worker_threads');

// Otherwise V8 reserves 512 MB for each worker's code, which counts although it is never touched.
const CODE_RANGE_MB = 16;

class Worker extends threads.Worker {
  constructor(filename, options) {
    super(filename, { ...options, resourceLimits: { codeRangeSizeMb: CODE_RANGE_MB, ...options?.resourceLimits } });
  }
}

/** Makes this Worker the one of node:worker_threads for user code. */
function limitWorkers() {
  threads.Worker = Worker;
  syncBuiltinESMExports();
}

module.exports = { limitWorkers };
