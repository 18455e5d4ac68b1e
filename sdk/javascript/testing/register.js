'use strict';
// Loaded before tests by `zmesh test`: modules are found and compiled as in a run, and `zmesh/testing` is this folder.

const nodeModule = require('node:module');
const { pathToFileURL } = require('node:url');
const { registerHooks } = require('../lib/resolving.js');

const URL_OF_TESTING = pathToFileURL(require.resolve('./index.js')).href;

registerHooks();
nodeModule.registerHooks({
  resolve: (name, context, next) => (name === 'zmesh/testing' ? { url: URL_OF_TESTING, shortCircuit: true } : next(name, context)),
});
