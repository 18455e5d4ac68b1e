'use strict';
// Started by `zmesh test` in a project that uses vitest: runs the project's vitest with its configuration and `zmesh/testing`.

const { createRequire } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const OURS = path.dirname(__dirname);

async function run(report, files) {
  const own = createRequire(path.resolve('package.json'));
  const { startVitest } = await import(pathToFileURL(own.resolve('vitest/node')).href);
  const options = {
    watch: false,
    fileParallelism: false, // transactions of several could wait for each other's rows
    reporters: ['default', ['junit', { addFileAttribute: true, outputFile: report }]],
  };
  const overrides = {
    resolve: { alias: { 'zmesh/testing': path.join(__dirname, 'index.js') } },
    test: { server: { deps: { external: [new RegExp(`^${RegExp.escape(OURS)}`)] } } }, // Node.js loads it, not vite
  };
  const vitest = await startVitest('test', files, options, overrides);
  await vitest.close();
}

run(process.argv[2], process.argv.slice(3)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
