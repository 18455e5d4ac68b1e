'use strict';
// Says which functions cannot load: parses their code, and executes none of it. Started by the API as a process of its
// own; reads a JSON list of {language, filename, entry_point, code, files} from standard input, and writes a JSON list with null
// or {type, message, stack} for each. Of the files of a folder, path → text or {base64}, those are parsed that the entry file
// imports or requires by their paths, and what they import.

const fs = require('node:fs');
const vm = require('node:vm');
const { compileAll } = require('./lib/compiling.js');
const { compiled } = require('./lib/loading.js');
const { Failure } = require('./lib/failures.js');
const { LISTENING } = require('./lib/node_applications.js');
const { ADDRESS, importedBy, missingImport } = require('./lib/own_imports.js');
const { isTypeScript, placeIn, provideCompiled } = require('./lib/sources.js');
const { describeSyntaxError, placed } = require('./lib/syntax_errors.js');

const LARGEST_TEXT = 8 * 1024; // of a message, which has the line of the code in it
const NO_FAULT_OF_THE_CODE = /call stack|out of memory/i; // at run time a function may have more of both
// With these, something may be exported without `exports` being written.
const DYNAMIC = /\b(?:this|arguments|eval|Function)\b|\\u/;
// The code may have a handler of another platform instead.
const REGISTERS = /\bDeno\b|\baddEventListener\b/;
const LISTENS = /\.\s*listen\s*\(/;
const HANDLERS = ['default', 'fetch', 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const IS_CODE = /\.(?:[mc]?[jt]s|[jt]sx)$/;
const EXPORTS = /\b(?:module\s*\.\s*)?exports\s*\.\s*([A-Za-z_$][\w$]*)/g;

async function faultOf(job) {
  let isModule;
  try {
    provideCompiled(await compileAll(job));
    isModule = parse(job, job.files ?? {});
    parseImported(job);
  } catch (error) {
    if (!(error instanceof Failure) || NO_FAULT_OF_THE_CODE.test(error.message)) return null;
    const [message, stack] = [error.message, error.userStack].map((text) => text?.slice(0, LARGEST_TEXT));
    return { type: error.type, message, stack };
  }
  const exported = isModule ? exportsOfModule(job.code) : knownExports(job.code);
  if (!exported || registers(job) || [job.entry_point, ...HANDLERS].some((name) => exported.includes(name))) return null;
  const exports = exported.length ? `; it exports ${exported.slice(0, 10).join(', ')}` : '; it exports nothing';
  const hint = LISTENS.test(job.code) ? `${exports}${LISTENING}` : exports;
  return { type: 'entry_point_missing', message: `the code exports no function "${job.entry_point}"${hint}`, stack: null };
}

/** Whether the code, or a file beside it, may register a handler instead of exporting it. */
function registers({ code, files = {} }) {
  return [code, ...Object.values(files)].some((text) => typeof text === 'string' && REGISTERS.test(text));
}

/** Whether the code is an ES module. Throws a Failure if it cannot be parsed, or imports a file that is not there. */
function parse(job, files) {
  const { code, run } = compiled(job);
  const specifiers = run === null ? specifiersOf(code, job.filename) : null;
  const missing = missingImport(job.filename, job.code, specifiers, files);
  if (missing) throw notFound(job.filename, missing, files);
  return run === null;
}

function notFound(filename, { name, line, text }, files) {
  const hint = whyMissing(name, files);
  const place = `${filename}:${line}\n${text}\n${' '.repeat(Math.max(0, text.indexOf(name) - 1))}^`;
  return new Failure('import_not_found', `${filename}:${line} imports ${JSON.stringify(name)}, which is not there (${hint})`, place);
}

function whyMissing(name, files) {
  if (ADDRESS.test(name)) return 'modules are not fetched from addresses: import the npm package, such as "npm:zod@4", or add the file to a folder';
  return Object.keys(files).length ? 'no file of the function has this path' : 'a single file has no other files: deploy a folder';
}

function specifiersOf(code, filename) {
  try {
    return new vm.SourceTextModule(code, { identifier: filename }).moduleRequests.map(({ specifier }) => specifier);
  } catch (error) {
    const { type, message, stack } = describeSyntaxError(placed(error, placeIn(code, filename, error.message)));
    throw new Failure(type, message, stack);
  }
}

function parseImported({ filename, code, files = {} }) {
  const seen = new Set([filename]);
  const waiting = importedBy(filename, code, files);
  for (const file of waiting) {
    if (seen.has(file) || !IS_CODE.test(file) || typeof files[file] !== 'string') continue;
    seen.add(file);
    parse({ filename: file, code: files[file], language: isTypeScript(file) ? 'typescript' : 'javascript' }, { ...files, [filename]: code });
    waiting.push(...importedBy(file, files[file], files));
  }
}

/** The names that an ES module exports, or null where it cannot be told from its text. */
function exportsOfModule(code) {
  if (/\bexport\s*(?:\*|(?:const|let|var)\s*[{[])/.test(code)) return null;
  const declared = [...code.matchAll(/\bexport\s+(?:async\s+)?(?:function\s*\*?|class|const|let|var|enum)\s+([\w$]+)/g)].map(([, name]) => name);
  const listed = [...code.matchAll(/\bexport\s*\{([^}]*)\}/g)].flatMap(([, list]) => list.split(',').map((one) => one.trim().split(/\s+/).at(-1)));
  const hasDefault = /\bexport\s+default\b/.test(code) ? ['default'] : [];
  return [...hasDefault, ...declared, ...listed.filter(Boolean)];
}

/** The names of everything that the code exports, or null where that does not show without running it. */
function knownExports(code) {
  if (DYNAMIC.test(code)) return null;
  const names = new Set();
  const rest = code.replace(EXPORTS, (_, name) => {
    names.add(name);
    return '';
  });
  return /\b(?:exports|module)\b/.test(rest) ? null : [...names];
}

async function main() {
  const faults = [];
  for (const job of JSON.parse(fs.readFileSync(0, 'utf8'))) faults.push(await faultOf(job));
  process.stdout.write(JSON.stringify(faults));
}

main();
