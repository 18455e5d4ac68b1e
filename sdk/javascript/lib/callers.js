'use strict';
// Errors that lead to the line that called: what rejects later has no more than the event loop above it.

const PLACE = /\(?([^()\s]+:\d+:\d+)\)?$/;

/** Has errors of these asynchronous methods of a class end with the lines that called them. */
function leadToCallers({ prototype }, names) {
  for (const name of names) {
    const method = prototype[name];
    const wrapper = {
      [name](...values) {
        const caller = {};
        Error.captureStackTrace(caller, wrapper);
        return method.apply(this, values).catch((error) => {
          addLines(error, caller);
          throw error;
        });
      },
    }[name];
    Object.defineProperty(prototype, name, { value: wrapper, configurable: true, writable: true });
  }
}

function addLines(error, caller) {
  try {
    const places = new Set(framesOf(error.stack).map(placeOf));
    const missing = framesOf(caller.stack).filter((line) => !places.has(placeOf(line)));
    if (missing.length > 0) error.stack = [error.stack, ...missing].join('\n');
  } catch {
    // what was thrown is no error, or cannot be changed
  }
}

function framesOf(stack) {
  return stack.split('\n').filter((line) => /^\s+at /.test(line));
}

function placeOf(line) {
  return PLACE.exec(line)?.[1] ?? line;
}

module.exports = { leadToCallers };
