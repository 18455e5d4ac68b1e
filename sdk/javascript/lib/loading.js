'use strict';
// User code: from its text, or from its files in the working directory, to what its module exports. What of that is called,
// handlers.js decides.

const nodeModule = require('node:module');
const path = require('node:path');
const vm = require('node:vm');
const { Failure } = require('./failures.js');
const { rememberSource } = require('./places.js');

const PARAMETERS = ['exports', 'module', 'require', 'console', '__filename', '__dirname'];
const ESM_MESSAGE = /import statement outside a module|Unexpected token 'export'|top level bodies of modules/;
const ESM_HINT = 'write exports.handler = async (payload, zmesh) => { … }, load modules with require() or await import()';

/** Executes the code: { exported }, or a promise of that. */
function load(job) {
  return job.entry_file ? loadFile(path.resolve(job.entry_file)) : loadText(job);
}

/** A function that is a single file, which is nowhere but in the job. */
function loadText(job) {
  const run = compiled(job);
  const own = moduleOf(path.resolve(job.filename));
  run.call(own.exports, own.exports, own, userRequire(own.filename), console, own.filename, own.path);
  return { exported: own.exports };
}

/** The entry file of a function that is a folder, as if it had been required. */
function loadFile(filename) {
  const own = new nodeModule.Module(filename, null);
  nodeModule.Module._cache[filename] = own;
  own.load(filename);
  return { exported: own.exports };
}

/** Compiles the code to a function without calling it. Throws a Failure if it cannot be parsed. */
function compiled(job) {
  const code = job.code.replace(/^\uFEFF/, ''); // a byte order mark, as some editors write it
  rememberSource(job.filename, code);
  return compile(job.language === 'typescript' ? withoutTypes({ ...job, code }) : code, job.filename);
}

function moduleOf(filename) {
  const own = new nodeModule.Module(filename);
  return Object.assign(own, { filename, paths: nodeModule.Module._nodeModulePaths(own.path) });
}

function compile(code, filename) {
  try {
    return vm.compileFunction(code, PARAMETERS, {
      filename,
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
  } catch (error) {
    const hint = ESM_MESSAGE.test(error.message) ? `: ${ESM_HINT}` : '';
    throw syntaxFailure(error.message + hint, excerpt(error), error.message);
  }
}

/** TypeScript without its types, every character left in place so that lines and columns stay. */
function withoutTypes({ code, filename }) {
  try {
    return nodeModule.stripTypeScriptTypes(code, { mode: 'strip' });
  } catch (error) {
    const place = excerpt(error);
    const hint = error.code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX' ? '; only what can be erased is: types, interfaces, annotations' : '';
    throw syntaxFailure(error.message + hint, place && filename + place, error.message);
  }
}

function syntaxFailure(message, place, reason) {
  return new Failure('syntax_error', message, `${place ? `${place}\n\n` : ''}SyntaxError: ${reason}`);
}

/** File, line and the line's text: what stands before the message in the stack of a syntax error. */
function excerpt(error) {
  const end = String(error.stack).search(/\n+SyntaxError/);
  return end > 0 ? error.stack.slice(0, end) : '';
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

/** The packages that the driver needs are not for functions. */
function isBundled(name) {
  return name === 'pg' || String(name).startsWith('pg/');
}

function withHint(name, find) {
  try {
    return find();
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    const message = `Cannot find module '${name}': there are Node.js's own modules and "pg"`;
    throw Object.assign(new Error(message), { code: error.code });
  }
}

/** Lets import('pg') find the bundled driver, which is not near the user's file. */
function resolveBundledImports() {
  const parentURL = require('node:url').pathToFileURL(__filename).href;
  nodeModule.registerHooks({
    resolve: (name, context, next) =>
      next(name, isBundled(name) ? { ...context, parentURL } : context),
  });
}

module.exports = { compiled, load, resolveBundledImports };
