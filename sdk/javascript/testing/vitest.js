'use strict';
// Started by `zmesh test` in a project that uses vitest: runs the project's vitest with its configuration and `zmesh/testing`.

const { createRequire } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { tell } = require('./progress.js');

const OURS = path.dirname(__dirname);

/** A reporter of vitest, from version 3 on. */
const progress = {
  onTestModuleStart: ({ moduleId }) => tell(path.basename(moduleId), moduleId),
  onTestCaseReady: ({ fullName, module }) => tell(fullName, module.moduleId),
  onTestCaseResult: ({ module }) => tell(path.basename(module.moduleId), module.moduleId),
  onTestModuleEnd: ({ moduleId }) => tell('', moduleId),
};

async function run(report, seconds, files) {
  const own = createRequire(path.resolve('package.json'));
  const { startVitest } = await import(pathToFileURL(own.resolve('vitest/node')).href);
  const options = {
    watch: false,
    fileParallelism: false, // transactions of several could wait for each other's rows
    reporters: ['default', ['junit', { addFileAttribute: true, outputFile: report }], progress],
    ...(seconds !== '' && { testTimeout: seconds * 1000, hookTimeout: seconds * 1000 }),
  };
  const overrides = {
    resolve: { alias: { 'zmesh/testing': path.join(__dirname, 'index.js') } },
    test: { server: { deps: { external: [new RegExp(`^${RegExp.escape(OURS)}`)] } } }, // Node.js loads it, not vite
  };
  const vitest = await startVitest('test', files, options, overrides);
  await vitest.close();
}

run(process.argv[2], process.argv[3], process.argv.slice(4)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
