'use strict';
// User code: from its text, or from its files in the working directory, to what its module exports. What of that is called,
// handlers.js decides.

const nodeModule = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { Failure, NO_PACKAGE } = require('./failures.js');
const { formatOf, isBundled, isNotFound, provide } = require('./resolving.js');
const { rememberSource } = require('./places.js');
const { compileScript, javaScriptOf } = require('./sources.js');
const { describeSyntaxError } = require('./syntax_errors.js');

const NO_FILES = 'a single file has no other files: deploy a folder';

/** Executes the code: { exported }, or a promise of that. */
function load(job) {
  return job.entry_file ? loadFile(path.resolve(job.folder, job.entry_file)) : loadText(job);
}

/** A function that is a single file, which is nowhere but in the job. */
function loadText(job) {
  const filename = path.resolve(job.filename);
  const { code, isTransformed, run } = compiled(job, filename);
  if (run === null) return importFile(filename, code);
  const own = moduleOf(filename);
  if (isTransformed) own._compile(code, filename, 'commonjs'); // Node.js reads the source map of what it compiles
  else run.call(own.exports, own.exports, own, userRequire(filename), console, filename, own.path);
  return { exported: own.exports };
}

/** The entry file of a function that is a folder, as if it had been required or imported. */
function loadFile(filename) {
  if (formatOf(filename) === 'module') return importFile(filename);
  const own = new nodeModule.Module(filename, null);
  nodeModule.Module._cache[filename] = own;
  own.load(filename);
  return { exported: own.exports };
}

async function importFile(filename, code) {
  const url = pathToFileURL(filename).href;
  if (code !== undefined) provide(url, code);
  return { exported: await import(url) };
}

/** The code as JavaScript, and what executes it: null for an ES module. Throws a Failure if it cannot be parsed. */
function compiled(job, filename = job.filename) {
  rememberSource(job.filename, job.code.replace(/^\uFEFF/, ''));
  try {
    const source = javaScriptOf(job.code, filename, job.language === 'typescript');
    return { ...source, run: compileScript(source.code, job.filename) };
  } catch (error) {
    const { type, message, stack } = describeSyntaxError(error);
    throw new Failure(type, message, stack);
  }
}

function moduleOf(filename) {
  const own = new nodeModule.Module(filename);
  return Object.assign(own, { filename, paths: nodeModule.Module._nodeModulePaths(own.path) });
}

/** require: Node.js's own modules, the bundled pg, and what the function itself has put into its folder. */
function userRequire(filename) {
  const own = nodeModule.createRequire(filename);
  const requireFor = (name) => (isBundled(name) ? require : own);
  const userRequire = (name) => withHint(name, () => requireFor(name)(name));
  userRequire.resolve = (name, options) => withHint(name, () => requireFor(name).resolve(name, options));
  userRequire.resolve.paths = own.resolve.paths;
  // No main module: `require.main === module` is for programs, which this is not.
  return Object.assign(userRequire, { cache: own.cache, extensions: own.extensions, main: undefined });
}

function withHint(name, find) {
  try {
    return find();
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const hint = /^[./]/.test(name) ? NO_FILES : NO_PACKAGE;
    throw Object.assign(new Error(`Cannot find module '${name}' (${hint})`), { code: error.code });
  }
}

module.exports = { compiled, load };
