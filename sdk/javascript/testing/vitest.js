'use strict';
// Started by `zmesh test` in a project that uses vitest: runs the project's vitest with its configuration and `zmesh/testing`.

const { createRequire } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { tell } = require('./progress.js');

const OURS = path.dirname(__dirname);

/** A reporter of vitest, from version 3 on. */
class Progress {
  #seconds = 0;

  onInit({ config }) {
    this.#seconds = Math.max(config.testTimeout, config.hookTimeout) / 1000;
  }

  onTestModuleStart({ moduleId }) {
    tell(path.basename(moduleId), moduleId, this.#seconds);
  }

  onTestCaseReady({ fullName, module, task }) {
    tell(fullName, module.moduleId, Math.max(this.#seconds, (task?.timeout ?? 0) / 1000));
  }

  onTestCaseResult({ module }) {
    this.onTestModuleStart(module);
  }

  onTestModuleEnd({ moduleId }) {
    tell('', moduleId);
  }
}

async function run(report, seconds, files) {
  const own = createRequire(path.resolve('package.json'));
  const { startVitest } = await import(pathToFileURL(own.resolve('vitest/node')).href);
  const options = {
    watch: false,
    fileParallelism: false, // transactions of several could wait for each other's rows
    reporters: ['default', ['junit', { addFileAttribute: true, outputFile: report }], new Progress()],
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
