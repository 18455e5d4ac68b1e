'use strict';
// Which of a function's own files its code imports by their paths, and which of these are certainly missing. Nothing is executed.

const path = require('node:path');

const IMPORTS = /(?:\bfrom|\bimport|\brequire)\s*(?:\(\s*)?(['"])(\.{1,2}\/[^'"\n]*)\1/g;
const ENDINGS = ['', '.js', '.ts', '.tsx', '.jsx', '.mjs', '.cjs', '.mts', '.cts', '/index.js', '/index.ts', '/index.tsx', '/index.jsx'];
// What a loader may find as well.
const OTHER_ENDINGS = ['.json', '.node', '/package.json', '/index.mjs', '/index.cjs', '/index.mts', '/index.cts', '/index.json'];
const COMPILED_ENDING = /\.([mc]?)jsx?$/; // TypeScript may import a file by the name of its compiled form
const ADDRESS = /^(?:https?|jsr):/; // Deno fetches these
const RELATIVE = /^\.{1,2}(?:\/|$)/;
// A statement of its own, so that nothing catches its error.
const REQUIRES = /^(?:(?:const|let|var)\s[^=\n]*=\s*)?require\(\s*(['"])(\.{1,2}\/[^'"\n]*)\1\s*\)/gm;
const MAY_BE_TEXT = /`|\/\*/; // after these, a line that looks like a statement may be none

/** Those of the files that the text may import by their paths. */
function importedBy(filename, code, files) {
  const folder = path.posix.dirname(filename);
  const found = [...code.matchAll(IMPORTS)].map(([, , name]) => path.posix.join(folder, name));
  return found.flatMap((file) => ENDINGS.map((ending) => file + ending).filter((other) => Object.hasOwn(files, other)).slice(0, 1));
}

/** The first import of a module that is neither a file of the function nor may be a package: { name, line, text }, or null.
 * `specifiers` are all that an ES module imports, or null for a CommonJS module. */
function missingImport(filename, code, specifiers, files) {
  const names = specifiers ?? requiredBy(code);
  const isMissing = (one) => ADDRESS.test(one) || (RELATIVE.test(one) && !one.includes('node_modules') && !isThere(filename, one, files));
  const name = names.find(isMissing);
  if (name === undefined) return null;
  const lines = code.split(/\r\n|[\n\r]/);
  const index = lines.findIndex((line) => line.includes(`'${name}'`) || line.includes(`"${name}"`));
  return { name, line: index + 1, text: lines[index] ?? '' };
}

function requiredBy(code) {
  const end = code.search(MAY_BE_TEXT);
  return [...code.slice(0, end < 0 ? undefined : end).matchAll(REQUIRES)].map(([, , name]) => name);
}

function isThere(filename, name, files) {
  const base = path.posix.join(path.posix.dirname(filename), withoutQuery(name)).replace(/\/$/, '');
  const candidates = [...ENDINGS, ...OTHER_ENDINGS].map((ending) => path.posix.normalize(base + ending));
  if (COMPILED_ENDING.test(base)) candidates.push(base.replace(COMPILED_ENDING, '.$1ts'), base.replace(COMPILED_ENDING, '.tsx'));
  return candidates.some((file) => file === filename || Object.hasOwn(files, file));
}

/** The path in the specifier of an ES module, which is a URL. */
function withoutQuery(name) {
  try {
    return decodeURIComponent(name.replace(/[?#].*$/, ''));
  } catch {
    return name;
  }
}

module.exports = { ADDRESS, importedBy, missingImport };
