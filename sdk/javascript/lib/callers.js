'use strict';
// Adds the calling line to errors: an error that arrives later has only the event loop on its stack.

const PLACE = /\(?([^()\s]+:\d+):\d+\)?$/; // the line: an await and the call that it waits for are two columns of it

/** Appends the calling lines to the errors of these asynchronous methods of a class. */
function appendCallerLines({ prototype }, names) {
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
    // the thrown value is not an Error, or cannot be changed
  }
}

function framesOf(stack) {
  return stack.split('\n').filter((line) => /^\s+at /.test(line));
}

function placeOf(line) {
  return PLACE.exec(line)?.[1] ?? line;
}

module.exports = { appendCallerLines };
