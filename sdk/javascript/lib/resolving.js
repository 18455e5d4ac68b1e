'use strict';
// Module resolution beyond that of Node.js: code that is in no file, the bundled pg, and TypeScript.

const fs = require('node:fs');
const nodeModule = require('node:module');
const path = require('node:path');
const { fileURLToPath, pathToFileURL } = require('node:url');
const { isNativeError } = require('node:util/types');
const { mappedBy } = require('./tsconfig.js');
const { compileScript, isTypeScript, javaScriptOf, placeIn } = require('./sources.js');
const { excerpt, placed } = require('./syntax_errors.js');

const { readFileSync, statSync } = fs; // user code may replace the properties of fs
const NOT_FOUND = new Set(['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND', 'ERR_UNSUPPORTED_DIR_IMPORT']);
const FORMATS = { '.mjs': 'module', '.mts': 'module', '.cjs': 'commonjs', '.cts': 'commonjs' };
const TYPESCRIPT_ENDINGS = ['.ts', '.tsx', '.mts', '.cts', '/index.ts', '/index.tsx', '/index.mts', '/index.cts'];
const ENDINGS = [...TYPESCRIPT_ENDINGS, '.js', '.jsx', '.mjs', '.cjs', '.json', '/index.js', '/index.jsx', '/index.mjs', '/index.cjs'];
const COMPILED_ENDING = /\.([mc]?)jsx?$/; // TypeScript may import a file by the name of its compiled form
const NPM = /^npm:\/?((?:@[^/@]+\/)?[^/@]+)(?:@[^/]*)?(\/.*)?$/;
const OWN_URL = pathToFileURL(__filename).href;
const provided = new Map(); // URL → code that is in no file
const texts = new Map(); // file → its JavaScript
const modules = new Map(); // URL → the text of an ES module, for the places of syntax errors

/** Provides the code of the ES module with this URL. */
function provide(url, code) {
  provided.set(url, code);
}

function registerHooks() {
  nodeModule.registerHooks({ resolve: (name, context, next) => asJson(resolve(name, context, next), context), load });
}

/** `import data from "./data.json"` needs no attribute, as with bundlers and TypeScript's resolveJsonModule. */
function asJson(found, context) {
  const isJson = isImport(context) && found.url.startsWith('file:') && found.url.endsWith('.json');
  return isJson ? { ...found, importAttributes: { type: 'json', ...(found.importAttributes ?? context.importAttributes) } } : found;
}

/** `npm:name@range/path` is `name/path`, of the version that was installed. */
function plainName(name) {
  return name.replace(NPM, '$1$2');
}

function resolve(specifier, context, next) {
  const name = plainName(specifier);
  if (provided.has(name)) return { url: name, format: 'module', shortCircuit: true };
  const parent = fileOf(context.parentURL);
  const file = isTypeScript(parent) ? ofTypeScript(name, parent, context, ENDINGS) : null;
  if (file) return { url: pathToFileURL(file).href, shortCircuit: true };
  try {
    return next(name, context);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    if (isBundled(name)) return bundled(name, context, next);
    const other = parent && ofTypeScript(name, parent, context, TYPESCRIPT_ENDINGS);
    if (!other) throw error;
    return { url: pathToFileURL(other).href, shortCircuit: true };
  }
}

function fileOf(url) {
  return url?.startsWith('file:') ? fileURLToPath(url) : '';
}

function isNotFound(error) {
  return NOT_FOUND.has(error.code);
}

/** The packages that the driver needs are not for functions. */
function isBundled(name) {
  return name === 'pg' || String(name).startsWith('pg/');
}

function bundled(name, context, next) {
  if (isImport(context)) return next(name, { ...context, parentURL: OWN_URL });
  return { url: pathToFileURL(require.resolve(name)).href, shortCircuit: true };
}

function isImport({ conditions }) {
  return conditions.includes('import');
}

/** The file that a name in TypeScript refers to, if Node.js does not find it. */
function ofTypeScript(name, parent, context, endings) {
  const isPath = /^(?:\.{0,2}\/|\.{1,2}$|file:)/.test(name);
  if (!isPath && nodeModule.isBuiltin(name)) return null;
  const files = isPath ? [pathOf(name, parent, context)] : mappedBy(process.cwd(), name);
  if (isPath && isFile(files[0])) return null;
  for (const file of files) {
    const candidates = [...(isPath ? [] : [file]), ...endings.map((ending) => file + ending)];
    if (COMPILED_ENDING.test(file)) candidates.push(file.replace(COMPILED_ENDING, '.$1ts'), file.replace(COMPILED_ENDING, '.tsx'));
    const found = candidates.find(isFile);
    if (found) return found;
  }
  return null;
}

function pathOf(name, parent, context) {
  if (!isImport(context)) return path.resolve(path.dirname(parent), name);
  return fileURLToPath(new URL(name, pathToFileURL(parent)));
}

function isFile(file) {
  return statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

function load(url, context, next) {
  if (provided.has(url)) return loaded(url, 'module', provided.get(url));
  if (!url.startsWith('file:') || !isTypeScript(new URL(url).pathname)) {
    const found = next(url, context);
    if (found.format === 'module') modules.set(url, found.source);
    return found;
  }
  const filename = fileURLToPath(url);
  return loaded(url, formatOf(filename), textOf(filename));
}

function loaded(url, format, source) {
  if (format === 'module') modules.set(url, source);
  return { format, source, shortCircuit: true };
}

/** 'module' or 'commonjs', according to its extension, the nearest package.json, or its text. */
function formatOf(filename) {
  const known = FORMATS[path.extname(filename)] ?? typeOfPackage(path.dirname(filename));
  if (known) return known;
  try {
    return compileScript(textOf(filename), filename) === null ? 'module' : 'commonjs';
  } catch {
    return 'commonjs'; // loading it reports the error
  }
}

/** The file as JavaScript. */
function textOf(filename) {
  if (!texts.has(filename)) texts.set(filename, javaScriptOf(readFileSync(filename, 'utf8'), filename).code);
  return texts.get(filename);
}

function typeOfPackage(folder) {
  try {
    const { type } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
    return type === 'module' || type === 'commonjs' ? type : null;
  } catch (error) {
    const above = path.dirname(folder);
    return error instanceof SyntaxError || above === folder || path.basename(folder) === 'node_modules' ? null : typeOfPackage(above);
  }
}

/** The error; a syntax error of an ES module gets its place, which V8 does not report. */
function withPlace(error) {
  if (!isNativeError(error) || !(error instanceof SyntaxError) || excerpt(error)) return error;
  for (const [url, source] of modules) {
    const place = placeIn(String(source), fileURLToPath(url), error.message);
    if (place) return placed(error, place);
  }
  return error;
}

module.exports = { formatOf, isBundled, isNotFound, provide, registerHooks, withPlace };
