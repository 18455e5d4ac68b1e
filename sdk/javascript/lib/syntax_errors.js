'use strict';
// Errors of code that does not compile: their stack begins with the place, as `file:line`, the line's text, and a caret.

const CARET = /^\s*\^+\s*$/; // below the line in which the error is
const LONGEST_LINE = 1000; // in which a hint is looked for
const withoutHint = new WeakSet();
const NOT_COMPILED = 'esbuild, which compiles decorators and JSX, did not run';
const TYPESCRIPT = /^[^\n]*\.(?:[mc]?ts|[jt]sx):\d+(?:\n|$)/; // the file that a place is in
const DECORATOR = /(?:^|[\s(,])@[A-Za-z_$]/;
const JSX = /(?:^|[=(:?,&|>]|\breturn)\s*<(?:[A-Za-z]|>)/;

/** File, line and the line's text: what stands before the message in the stack of a syntax error. */
function excerpt(error) {
  const end = String(error.stack).search(/\n+SyntaxError/);
  return end > 0 ? error.stack.slice(0, end) : '';
}

/** The error with this place before its stack. */
function placed(error, place) {
  if (place) error.stack = `${place}\n\n${error.stack}`;
  return error;
}

/** An error of the compiler that knows all syntax: no hint helps. */
function compilersError(message) {
  const error = new SyntaxError(message);
  withoutHint.add(error);
  return error;
}

/** The message, with what helps where neither Node.js nor its TypeScript knows the syntax. */
function messageWithHint(error) {
  if (withoutHint.has(error)) return error.message;
  const place = excerpt(error);
  const line = wrongLine(place);
  const hasTypes = TYPESCRIPT.test(place);
  if (line.startsWith('@')) return `${error.message}: ${hasTypes ? NOT_COMPILED : 'decorators need TypeScript: name the file .ts'}`;
  if (hasJsx(place)) return `${error.message}: ${hasTypes ? NOT_COMPILED : 'JSX needs a compiler: name the file .jsx or .tsx'}`;
  return error.message;
}

/** Whether the line with the error looks like JSX. */
function hasJsx(place) {
  return JSX.test(wrongLine(place));
}

function wrongLine(place) {
  const lines = place.split('\n');
  return lines[lines.findIndex((line) => CARET.test(line)) - 1]?.slice(0, LONGEST_LINE).trim() ?? '';
}

/** type, message and stack of the error that the caller sees; `frames` are the user's own lines. */
function describeSyntaxError(error, frames = []) {
  const place = excerpt(error);
  const stack = [...(place ? [`${place}\n`] : []), `SyntaxError: ${error.message}`, ...frames].join('\n');
  return { type: 'syntax_error', message: messageWithHint(error), stack };
}

module.exports = { DECORATOR, compilersError, describeSyntaxError, excerpt, hasJsx, placed };
