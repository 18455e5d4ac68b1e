'use strict';
// Reads tsconfig.json: baseUrl and paths say where modules are, the rest is for the compiler.

const fs = require('node:fs');
const path = require('node:path');

const { readFileSync } = fs; // user code may replace the properties of fs
// Matches comments and trailing commas, which JSON does not allow; strings are left alone.
const BEYOND_JSON = /("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\/|,(?=(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*[}\]])/g;
const MOST_EXTENDED = 8; // one by another
const configs = new Map(); // folder → its options, with the paths as a list

/** The files, without extension, to which the tsconfig.json in this folder maps a module name. */
function mappedBy(folder, name) {
  const { baseUrl, pathsFolder, paths } = configIn(folder);
  const mapped = paths.flatMap(([pattern, targets]) => {
    const matched = starIn(pattern, name);
    return matched === null ? [] : targets.map((target) => target.replace('*', () => matched));
  });
  const files = mapped.map((file) => path.resolve(baseUrl ?? pathsFolder ?? folder, file));
  return baseUrl ? [...files, path.resolve(baseUrl, name)] : files;
}

function configIn(folder) {
  if (!configs.has(folder)) configs.set(folder, read(folder));
  return configs.get(folder);
}

function read(folder) {
  const options = optionsOf(path.join(folder, 'tsconfig.json'), textOfFile);
  const paths = Object.entries(options.paths ?? {}).filter(([, targets]) => Array.isArray(targets));
  paths.sort(([one], [other]) => lengthBeforeStar(other) - lengthBeforeStar(one)); // the most specific first
  return { ...options, paths };
}

function textOfFile(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * The compiler's options in a configuration and those that it extends by their paths; `textOf` reads a file, or returns undefined.
 * `baseUrl` is from where the file is, and `pathsFolder` is where the one that has the paths is.
 */
function optionsOf(file, textOf, extending = []) {
  const text = textOf(file);
  if (text === undefined) return {};
  const config = parsed(text, file) ?? {};
  const folder = path.dirname(file);
  const bases = [config.extends ?? []].flat().map((base) => extended(folder, base, textOf));
  const inherited = bases.filter((base) => base !== undefined && ![...extending, file].includes(base) && extending.length < MOST_EXTENDED);
  const options = { ...config.compilerOptions };
  if (typeof options.baseUrl === 'string') options.baseUrl = path.join(folder, options.baseUrl);
  else delete options.baseUrl;
  if (options.paths) options.pathsFolder = folder;
  return Object.assign({}, ...inherited.map((base) => optionsOf(base, textOf, [...extending, file])), options);
}

/** The file that a configuration extends, if it is one of the function's own. */
function extended(folder, base, textOf) {
  if (typeof base !== 'string' || !/^\.{1,2}(?:\/|$)/.test(base)) return undefined;
  const file = path.join(folder, base);
  return [file, `${file}.json`, path.join(file, 'tsconfig.json')].find((one) => textOf(one) !== undefined);
}

function parsed(text, file) {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, '').replace(BEYOND_JSON, (_, string) => string ?? ''));
  } catch (error) {
    throw new SyntaxError(`${file}: ${error.message}`);
  }
}

/** The part of the name that the star of a pattern matches; null if they do not match. */
function starIn(pattern, name) {
  const star = pattern.indexOf('*');
  if (star < 0) return pattern === name ? '' : null;
  const [before, after] = [pattern.slice(0, star), pattern.slice(star + 1)];
  const matches = name.length >= before.length + after.length && name.startsWith(before) && name.endsWith(after);
  return matches ? name.slice(before.length, name.length - after.length) : null;
}

function lengthBeforeStar(pattern) {
  return pattern.includes('*') ? pattern.indexOf('*') : Infinity;
}

module.exports = { mappedBy, optionsOf };
