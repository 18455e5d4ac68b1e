'use strict';
// Reads baseUrl and paths of tsconfig.json, which say where modules are. The rest is for the compiler.

const fs = require('node:fs');
const path = require('node:path');

const { readFileSync } = fs; // user code may replace the properties of fs
// Matches comments and trailing commas, which JSON does not allow; strings are left alone.
const BEYOND_JSON = /("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\/|,(?=(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*[}\]])/g;
const configs = new Map(); // folder → { base, paths }

/** The files, without extension, to which the tsconfig.json in this folder maps a module name. */
function mappedBy(folder, name) {
  const { base, paths } = configIn(folder);
  const mapped = paths.flatMap(([pattern, targets]) => {
    const matched = starIn(pattern, name);
    return matched === null ? [] : targets.map((target) => target.replace('*', () => matched));
  });
  return [...mapped, ...(base === null ? [] : [name])].map((file) => path.resolve(folder, base ?? '.', file));
}

function configIn(folder) {
  if (!configs.has(folder)) configs.set(folder, read(folder));
  return configs.get(folder);
}

function read(folder) {
  const file = path.join(folder, 'tsconfig.json');
  let text;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return { base: null, paths: [] };
  }
  const options = parsed(text, file)?.compilerOptions ?? {};
  const paths = Object.entries(options.paths ?? {}).filter(([, targets]) => Array.isArray(targets));
  paths.sort(([one], [other]) => lengthBeforeStar(other) - lengthBeforeStar(one)); // the most specific first
  return { base: options.baseUrl ?? null, paths };
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

module.exports = { mappedBy, parsed };
