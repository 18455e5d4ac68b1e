'use strict';
// Says which functions cannot load: parses their code, and executes none of it. Started by the API as a process of its
// own; reads a JSON list of {language, filename, entry_point, code} from standard input, and writes a JSON list with null or
// {type, message, stack} for each.

const fs = require('node:fs');
const { compiled } = require('./lib/loading.js');
const { Failure } = require('./lib/failures.js');

const LARGEST_TEXT = 8 * 1024; // of a message, which has the line of the code in it
const NO_FAULT_OF_THE_CODE = /call stack|out of memory/i; // at run time a function may have more of both
// With these, something may be exported without `exports` being written.
const DYNAMIC = /\b(?:this|arguments|eval|Function)\b|\\u/;
// The code may have a handler of another platform instead.
const REGISTERS = /\bDeno\b|\baddEventListener\b/;
const HANDLERS = ['default', 'fetch', 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const EXPORTS = /\b(?:module\s*\.\s*)?exports\s*\.\s*([A-Za-z_$][\w$]*)/g;

function faultOf(job) {
  try {
    compiled(job);
  } catch (error) {
    if (!(error instanceof Failure) || NO_FAULT_OF_THE_CODE.test(error.message)) return null;
    const [message, stack] = [error.message, error.userStack].map((text) => text?.slice(0, LARGEST_TEXT));
    return { type: error.type, message, stack };
  }
  const exported = knownExports(job.code);
  if (!exported || REGISTERS.test(job.code) || [job.entry_point, ...HANDLERS].some((name) => exported.includes(name))) return null;
  const hint = exported.length ? `; it exports ${exported.slice(0, 10).join(', ')}` : '; it exports nothing';
  return { type: 'entry_point_missing', message: `the code exports no function "${job.entry_point}"${hint}`, stack: null };
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

process.stdout.write(JSON.stringify(JSON.parse(fs.readFileSync(0, 'utf8')).map(faultOf)));
