'use strict';
// Detects the end of a run that has not answered: an unhandled error, or an empty event loop. It hooks process.emit instead
// of adding listeners, which the function could see and which would change Node.js's default behaviour.

const OF_EXCEPTIONS = ['uncaughtException', 'uncaughtExceptionMonitor'];
const { emit } = process;
let watching = null; // { unhandled(error), idle(), exit() }
let loopIsEmpty = false;

/** Reports these events from now on; null reports none. */
function watchProcess(handlers) {
  watching = handlers;
}

function emitAndWatch(event, ...values) {
  const handled = emit.call(this, event, ...values);
  if (watching === null) return handled;
  if (event === 'unhandledRejection' && !handled && !handlesExceptions()) watching.unhandled(values[0]);
  else if (event === 'uncaughtException' && !handled) watching.unhandled(values[0]);
  else if (event === 'beforeExit') loopIsEmpty = true;
  else if (event === 'exit' && loopIsEmpty) watching.idle();
  else if (event === 'exit') watching.exit();
  else return handled;
  return true;
}

/** Whether the function handles exceptions itself; Node.js turns every unhandled rejection into an exception. */
function handlesExceptions() {
  return process.hasUncaughtExceptionCaptureCallback() || OF_EXCEPTIONS.some((event) => process.listenerCount(event) > 0);
}

Object.defineProperty(process, 'emit', { value: emitAndWatch, configurable: true, writable: true });

module.exports = { watchProcess };
