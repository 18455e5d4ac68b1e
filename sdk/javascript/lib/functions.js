'use strict';
// User code: compiled with its own line numbers, executed as a CommonJS module, its handler found by name.

const nodeModule = require('node:module');
const path = require('node:path');
const vm = require('node:vm');
const { Failure } = require('./failures.js');

const PARAMETERS = ['exports', 'module', 'require', 'console'];
const ESM_MESSAGE = /import statement outside a module|Unexpected token 'export'|top level bodies of modules/;
const ESM_HINT = 'write exports.handler = async (payload, zmesh) => { … }, load modules with require() or await import()';

/** Executes the code and returns the function that the entry point names. */
function load(job) {
  const own = { exports: {} };
  const run = compiled(job);
  run.call(own.exports, own.exports, own, userRequire(), console);
  return handlerOf(own.exports, job.entry_point);
}

/** The code as a function that is not called yet. Throws a Failure for what cannot be parsed. */
function compiled(job) {
  return compile(job.language === 'typescript' ? withoutTypes(job) : job.code, job.filename);
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

function handlerOf(exported, name) {
  if (typeof exported === 'function' && typeof exported[name] !== 'function') return exported;
  const found = exported?.[name] ?? exported?.default?.[name];
  if (typeof found === 'function') return found;
  if (found === undefined && typeof exported?.default === 'function') return exported.default;
  throw new Failure('entry_point_missing', missing(exported, name, found));
}

function missing(exported, name, found) {
  if (found !== undefined) return `exports.${name} is no function, but of type ${typeof found}`;
  const others = Object.keys(exported ?? {});
  const hint = others.length ? `; it exports ${others.slice(0, 10).join(', ')}` : '; it exports nothing';
  return `the code exports no function "${name}"${hint}`;
}

/** require: Node.js's own modules, the bundled pg, and files by their path. */
function userRequire() {
  const fromWorkspace = nodeModule.createRequire(path.join(process.cwd(), 'function.js'));
  const requireFor = (name) => (/^(\.{0,2}\/|\.{1,2}$)/.test(name) ? fromWorkspace : require);
  const userRequire = (name) => withHint(name, () => requireFor(name)(name));
  userRequire.resolve = (name) => withHint(name, () => requireFor(name).resolve(name));
  return userRequire;
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
      next(name, name === 'pg' || name.startsWith('pg/') ? { ...context, parentURL } : context),
  });
}

module.exports = { compiled, load, resolveBundledImports };
