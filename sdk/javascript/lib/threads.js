'use strict';
// Worker threads whose reserved memory fits into a function's limit.

const { syncBuiltinESMExports } = require('node:module');
const threads = require('node:worker_threads');

// V8 reserves 512 MB for the code of each worker otherwise, which counts although it is never touched.
const CODE_RANGE_MB = 16;

class Worker extends threads.Worker {
  constructor(filename, options) {
    super(filename, { ...options, resourceLimits: { codeRangeSizeMb: CODE_RANGE_MB, ...options?.resourceLimits } });
  }
}

/** Gives user code this Worker as the one of node:worker_threads. */
function limitWorkers() {
  threads.Worker = Worker;
  syncBuiltinESMExports();
}

module.exports = { limitWorkers };
