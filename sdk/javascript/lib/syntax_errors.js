'use strict';
// Errors of code that does not compile: their stack begins with the place, as `file:line`, the line's text, and a caret.

const NEEDS_COMPILER = 'compile it before it is deployed, for example with esbuild';
const CARET = /^\s*\^+\s*$/; // below the line in which the error is
const LONGEST_LINE = 1000; // in which a hint is looked for
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

/** The message, with what helps where neither Node.js nor its TypeScript knows the syntax. */
function messageWithHint(error) {
  const line = wrongLine(excerpt(error));
  if (line.startsWith('@')) return `${error.message}: decorators are not supported; ${NEEDS_COMPILER}`;
  if (JSX.test(line)) return `${error.message}: if this is JSX, ${NEEDS_COMPILER}`;
  return error.message;
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

module.exports = { describeSyntaxError, excerpt, placed };
