'use strict';
// Loaded before tests by `zmesh test`: modules are found and compiled as in a run, and `zmesh/testing` is this folder.

const nodeModule = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { registerHooks } = require('../lib/resolving.js');
const { tell } = require('./progress.js');

const STILL_MS = 500;
const URL_OF_TESTING = pathToFileURL(require.resolve('./index.js')).href;

registerHooks();
nodeModule.registerHooks({
  resolve: (name, context, next) => (name === 'zmesh/testing' ? { url: URL_OF_TESTING, shortCircuit: true } : next(name, context)),
});

if (process.env.NODE_TEST_CONTEXT) {
  // This is the process of a file, not the one that starts these. If a test waits, the timer goes on and node:test ends the
  // test; if it loops, the timer cannot fire, and `zmesh test` notices that.
  const { after, afterEach, beforeEach } = require('node:test');
  const file = process.argv[1];
  let now = path.basename(file); // its top-level code may hang, too
  const step = (name) => tell((now = name), file);
  const still = setInterval(() => step(now), STILL_MS).unref();
  step(now);
  beforeEach(({ name }) => step(name));
  afterEach(() => step(''));
  after(() => {
    clearInterval(still);
    step('what its tests left running, such as a timer,');
  });
}
