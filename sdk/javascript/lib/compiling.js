'use strict';
// TypeScript and JSX as JavaScript, before a run needs it: what Node.js strips or transforms by itself, and what it has no
// compiler for, decorators and JSX, which esbuild compiles file by file. Executes nothing.

const path = require('node:path');
const { isTypeScript, javaScriptOf, placeIn, withoutDeclarations } = require('./sources.js');
const { DECORATOR, excerpt, hasJsx } = require('./syntax_errors.js');
const { optionsOf } = require('./tsconfig.js');

const CONFIGS = ['tsconfig.json', 'deno.json', 'deno.jsonc'];
const COMPILED_JSX = { react: 'transform', 'react-jsx': 'automatic', 'react-jsxdev': 'automatic', precompile: 'automatic' };
const STATEMENT_OF_MODULE = /^\s*(?:import|export)\b(?!\s*\()/m;
const METADATA = /['"]reflect-metadata['"]/;
const NO_METADATA =
  'emitDecoratorMetadata is not supported: the types of decorated members are not available at run time. Name them in the decorators, or compile before you deploy';
const UNKNOWN_TOKEN = 'Invalid or unexpected token'; // what V8 says of a decorator
const MOST_STRIPPED = 1024 * 1024; // characters that runs are spared stripping: more takes longer to send than it saves

/**
 * Path → its JavaScript, or where its syntax is wrong, as {message, line, column, text}. `files` are those beside the code,
 * path → text or {base64}. Errors that Node.js describes best are left out: a run meets them by itself.
 */
async function compileAll({ language, filename, code, files }) {
  const hasTypes = (file) => isTypeScript(file) || (file === filename && language === 'typescript');
  const texts = Object.entries({ ...files, [filename]: code }).filter(([file, text]) => typeof text === 'string' && hasTypes(file));
  const found = {};
  let stripped = 0;
  for (const [file, text] of texts) {
    const { code: result, isStripped } = await compile(file, text, files);
    if (result === null || (isStripped && (stripped += result.length) > MOST_STRIPPED)) continue;
    found[file] = result;
  }
  return found;
}

async function compile(file, text, files) {
  const config = configFor(file, files ?? {});
  const compiledAs = async (...loaders) => ({ code: metadataError(file, text, config, files) ?? (await byEsbuild(file, text, loaders, config)) });
  if (file.endsWith('x')) return compiledAs('tsx');
  try {
    const { code, isTransformed } = javaScriptOf(text, file, true);
    if (!hasDecorators(text, code, file)) return { code, isStripped: !isTransformed };
  } catch (error) {
    if (hasJsx(excerpt(error))) return compiledAs('tsx');
    if (!DECORATOR.test(text)) return { code: null };
  }
  return compiledAs('ts', 'tsx');
}

/** Whether decorators are left in the code, which Node.js takes for part of the language. */
function hasDecorators(text, code, file) {
  return DECORATOR.test(text) && placeIn(code, file, UNKNOWN_TOKEN) !== '';
}

/** What the first of these loaders makes of it, else the error of the one that came furthest. */
async function byEsbuild(file, text, loaders, tsconfigRaw) {
  const { transform } = require('esbuild');
  const errors = [];
  for (const loader of loaders) {
    try {
      const { code } = await transform(withoutDeclarations(text), {
        loader,
        tsconfigRaw,
        jsx: COMPILED_JSX[tsconfigRaw.compilerOptions.jsx] ?? 'automatic',
        sourcefile: path.posix.basename(file),
        sourcemap: 'inline',
        sourcesContent: false,
        format: isModule(file, text) ? undefined : 'cjs',
        target: 'node24',
        logLevel: 'silent',
      });
      return code.trimEnd();
    } catch (error) {
      if (!error.errors?.[0]?.location) throw error;
      const [{ text: message, location }] = error.errors;
      errors.push({ message, line: location.line, column: location.column, text: location.lineText });
    }
  }
  return errors.reduce((one, other) => (other.line > one.line || (other.line === one.line && other.column > one.column) ? other : one));
}

/** Whether it stays an ES module: what is compiled from JSX imports a package, which would make one of any file. */
function isModule(file, text) {
  return file.endsWith('.mts') || (!file.endsWith('.cts') && STATEMENT_OF_MODULE.test(text));
}

/** An error where code relies on types at run time, which the compiler does not write; null where it does not seem to. */
function metadataError(file, text, { compilerOptions }, files) {
  const line = text.split(/\r\n|[\n\r]/).findIndex((one) => DECORATOR.test(one));
  const texts = [text, ...Object.values(files ?? {})];
  const isUsed = compilerOptions.emitDecoratorMetadata === true && texts.some((one) => typeof one === 'string' && METADATA.test(one));
  return isUsed && line >= 0 ? { message: NO_METADATA, line: line + 1, column: 0, text: text.split(/\r\n|[\n\r]/)[line] } : null;
}

/** The settings of the compiler in the nearest configuration above a file. */
function configFor(file, files) {
  for (let folder = path.posix.dirname(file); ; folder = path.posix.dirname(folder)) {
    const name = CONFIGS.map((one) => path.posix.join(folder, one)).find((one) => typeof files[one] === 'string');
    if (name !== undefined) return { compilerOptions: optionsIn(name, files) };
    if (folder === '.' || folder === '/') return { compilerOptions: {} };
  }
}

function optionsIn(name, files) {
  try {
    return optionsOf(name, (file) => (typeof files[file] === 'string' ? files[file] : undefined));
  } catch {
    return {}; // whoever loads it says what is wrong
  }
}

module.exports = { compileAll };
