'use strict';
// Functions with `init = "once"`: a template executes their top-level code, and runs are forked with what it left. The
// template has no payload, secret, variable of the function or session. It removes the function's files again: each run writes
// them into a working directory of its own.

const fs = require('node:fs');
const nodeModule = require('node:module');
const path = require('node:path');
const { Channel } = require('./channel.js');
const { removeFiles, writeFiles } = require('./files.js');
const { Registered } = require('./foreign_globals.js');
const { load } = require('./loading.js');
const { withPlace } = require('./resolving.js');
const { provideCompiled } = require('./sources.js');
const { watchProcess } = require('./unhandled.js');

const NEVER_LOADED = 'its top-level await can never settle: nothing is left to wait for';
let loaded = null; // { exported, registered }

/** In a template: executes the code in the file of this descriptor, which is closed then. `fail` is called with what it throws
 * outside of its modules, and does not return. */
async function loadOnce(fd, fail) {
  const channel = new Channel(fd);
  const job = JSON.parse(channel.receive().body.toString('utf8'));
  const files = job.has_files ? channel.receive().body : null;
  fs.closeSync(fd);
  job.folder = process.cwd();
  process.mainModule = undefined;
  process.argv.splice(1, Infinity, path.resolve(job.filename));
  watchProcess({ unhandled: fail, idle: () => fail(new Error(NEVER_LOADED)), exit: () => {} });
  const restore = withoutVariables(job.variables);
  try {
    loaded = await loadFunction(job, files, null);
  } catch (error) {
    throw withPlace(error);
  }
  await new Promise(setImmediate); // by then Node.js has said which rejections nobody handles
  restore();
  watchProcess(null);
  process.chdir(job.folder);
  removeFiles(loaded.files);
}

/** What the code exports and registers: that of a template, if it has been loaded there. `zmesh` is null in a template. */
async function loadFunction(job, files, zmesh) {
  const written = job.entry_file ? writeFiles(job, files) : {};
  if (job.is_loaded && loaded !== null) {
    defineZmesh({ value: zmesh, writable: true });
    return loaded;
  }
  const registered = new Registered();
  registered.defineGlobals(job.code, written);
  defineZmesh(zmesh === null ? { get: refuseZmesh } : { value: zmesh, writable: true });
  provideCompiled(job.compiled, job.folder);
  const { exported } = await load(job);
  return { exported, registered, files: job.entry_file ? [job.entry_file, ...Object.keys(written)] : [] };
}

function defineZmesh(property) {
  Object.defineProperty(globalThis, 'zmesh', { configurable: true, ...property });
}

function refuseZmesh() {
  throw new Error('top-level code cannot use zmesh with init = once: use it in the handler');
}

/** Has it explained that these variables of the environment are not there: their values are for runs only. */
function withoutVariables(names) {
  const real = process.env;
  let isLoading = true;
  const check = (name) => {
    if (isLoading && names.includes(name) && !Object.hasOwn(real, name))
      throw new Error(`top-level code cannot read the environment variable ${name} with init = once: read it in the handler`);
  };
  const explaining = new Proxy(real, {
    get: (target, name) => (check(name), target[name]),
    has: (target, name) => (check(name), name in target),
    getOwnPropertyDescriptor: (target, name) => (check(name), Object.getOwnPropertyDescriptor(target, name)),
  });
  replaceEnvironment(explaining);
  return () => {
    isLoading = false; // the code may have kept it
    replaceEnvironment(real);
  };
}

function replaceEnvironment(value) {
  Object.defineProperty(process, 'env', { ...Object.getOwnPropertyDescriptor(process, 'env'), value });
  nodeModule.syncBuiltinESMExports();
}

module.exports = { loadFunction, loadOnce };
