'use strict';
// The text of a module as JavaScript, compiled but not executed. TypeScript has its types stripped, which leaves every line and
// column in place; where it has enums, namespaces or parameter properties, it is transformed, with a source map.

const { SourceMap, stripTypeScriptTypes } = require('node:module');
const path = require('node:path');
const vm = require('node:vm');
const { compilersError, excerpt, placed } = require('./syntax_errors.js');

const PARAMETERS = ['exports', 'module', 'require', 'console', '__filename', '__dirname'];
const TYPESCRIPT = new Set(['.ts', '.mts', '.cts', '.tsx', '.jsx']); // JSX is what its compiler compiles, too
const STATEMENT_OF_MODULE = /import statement outside a module|Unexpected token 'export'|import\.meta' outside a module/;
// Errors for syntax that only modules allow; they may come before the first import or export.
const ONLY_IN_MODULES = /top level bodies of modules|^Unexpected reserved word|^Identifier '(?:exports|module|require|__filename|__dirname)' has/;
const AWAIT_HINT = 'export the handler with "export", as an ES module does, to use await outside of functions';
// Loads types for an editor, such as the first line of a new function of Supabase; there is nothing to execute.
const IMPORT_OF_DECLARATIONS = /^[ \t]*import[ \t]*(['"])[^'"\n]+\.d\.[mc]?ts\1[ \t]*;?(?=[ \t]*(?:\/\/.*)?\r?$)/gm;
const SOURCE_MAP = /\n\/\/# sourceMappingURL=data:application\/json;base64,(\S+)$/; // as Node.js ends what it transforms
const compiled = new Map(); // file → its JavaScript, or the place and message of a syntax error
const WRAPPER = "(async () => { 'use strict';\n";

function isTypeScript(filename) {
  return TYPESCRIPT.has(path.extname(filename));
}

/** Has these files be what was compiled before: path in the folder → code, or {message, line, column, text}. */
function provideCompiled(files, folder = '') {
  compiled.clear();
  for (const [file, code] of Object.entries(files ?? {})) compiled.set(path.join(folder, file), code);
}

/** The code as JavaScript, and whether lines have moved. Throws a SyntaxError that begins with the place. */
function javaScriptOf(text, filename, hasTypes = isTypeScript(filename)) {
  const known = compiled.get(filename);
  if (typeof known === 'string') return { code: known, isTransformed: SOURCE_MAP.test(known) };
  if (known) throw placed(compilersError(known.message), `${filename}:${known.line}\n${known.text}\n${' '.repeat(known.column)}^`);
  const code = text.replace(/^\uFEFF/, ''); // a byte order mark, as some editors write it
  return hasTypes ? withoutTypes(withoutDeclarations(code), filename) : { code, isTransformed: false };
}

/** TypeScript without the imports of declarations, still an ES module; lines and columns stay. */
function withoutDeclarations(code) {
  return code.replace(IMPORT_OF_DECLARATIONS, (statement) => 'export {};'.padEnd(statement.length));
}

function withoutTypes(code, filename) {
  try {
    return { code: stripTypeScriptTypes(code), isTransformed: false };
  } catch (error) {
    if (error.code !== 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') throw syntaxErrorAt(filename, error);
  }
  try {
    return { code: stripTypeScriptTypes(code, { mode: 'transform', sourceMap: true, sourceUrl: filename }), isTransformed: true };
  } catch (error) {
    throw syntaxErrorAt(filename, error);
  }
}

/** A CommonJS module as a function; null if the text is an ES module. Throws a SyntaxError. */
function compileScript(code, filename) {
  try {
    return vm.compileFunction(code, PARAMETERS, {
      filename,
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
  } catch (error) {
    if (STATEMENT_OF_MODULE.test(error.message)) return null;
    if (ONLY_IN_MODULES.test(error.message)) {
      if (/\bexport\b|\bimport\b/.test(code)) return null;
      error.message += `: ${AWAIT_HINT}`;
    }
    const place = excerpt(error);
    throw place ? placed(new SyntaxError(error.message), inOriginal(place, code)) : error;
  }
}

/** The message of the TypeScript compiler, with the name of the file. */
function syntaxErrorAt(filename, error) {
  const place = excerpt(error);
  return placed(new SyntaxError(error.message), place.startsWith(':') ? filename + place : place);
}

/** The place of this syntax error in the text of an ES module; '' if it cannot be found. */
function placeIn(code, filename, message) {
  try {
    new vm.Script(`${WRAPPER}${withoutStatementsOfModule(code)}\n})`, { filename, lineOffset: -1 });
  } catch (error) {
    if (error.message === message) return inOriginal(withLineOf(code, excerpt(error)), code);
  }
  return '';
}

/** The place with the line as it is in the code. */
function withLineOf(code, place) {
  const [head, , ...caret] = place.split('\n');
  return [head, code.split(/\r\n|[\n\r]/)[head.match(/\d+$/) - 1], ...caret].join('\n');
}

/** The place with the number that its line had before the code was transformed. */
function inOriginal(place, code) {
  const map = SOURCE_MAP.exec(code)?.[1];
  if (map === undefined) return place;
  const lines = new SourceMap(JSON.parse(Buffer.from(map, 'base64').toString()));
  return place.replace(/:(\d+)$/m, (all, line) => {
    const { originalLine } = lines.findEntry(line - 1, place.split('\n')[1].search(/\S|$/));
    return originalLine === undefined ? all : `:${originalLine + 1}`;
  });
}

/** The text with everything that only modules allow blanked out; lines and columns stay. */
function withoutStatementsOfModule(code) {
  const blank = (text) => text.replace(/[^\n\r]/g, ' ');
  return code
    .replace(/^[ \t]*import\s*(?:[\w$*{][^;'"()]*?from\s*)?(['"])[^'"\n]*\1(?:\s*with\s*\{[^}]*\})?/gm, blank)
    .replace(/^[ \t]*export\s*(?:\*[^;'"]*?|\{[^}]*\}\s*)from\s*(['"])[^'"\n]*\1/gm, blank)
    .replace(/^[ \t]*export\s*\{[^}]*\}/gm, blank)
    .replace(/^([ \t]*)export(\s+)default\b/gm, (_, indent, space) => `${indent}_ =   ${space}       `)
    .replace(/^([ \t]*)export\b/gm, '$1      ');
}

module.exports = { compileScript, isTypeScript, javaScriptOf, placeIn, provideCompiled, withoutDeclarations };
