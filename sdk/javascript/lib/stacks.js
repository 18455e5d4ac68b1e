'use strict';
// What user code reads as the stack of an error: with the paths that its author knows.

const { withinFolder } = require('./places.js');

const FRAME = /^ +at .*$/gm;
const prepare = Error.prepareStackTrace; // Node.js's own, which follows source maps
const full = new WeakMap(); // error → its stack as shown, and with full paths

/** Has stacks show files of this folder by their paths in it. */
function showWithin(folder) {
  Error.prepareStackTrace = (error, trace) => {
    const stack = prepare(error, trace);
    if (typeof stack !== 'string') return stack;
    const shown = stack.replace(FRAME, (frame) => withinFolder(frame, folder));
    full.set(error, { shown, stack });
    return shown;
  };
}

/** The stack with full paths, which tell the user's own files from all others. */
function fullStackOf(error) {
  const { stack } = error;
  const known = full.get(error);
  return known?.shown === stack ? known.stack : stack;
}

module.exports = { fullStackOf, showWithin };
