'use strict';
// What ends a run that has not answered: an error that nobody handles, or nothing left to wait for. It is noticed where
// Node.js tells of it, and not by listeners: those would show in a function, and take from its own listeners' effect.

const OF_EXCEPTIONS = ['uncaughtException', 'uncaughtExceptionMonitor'];
const { emit } = process;
let watching = null; // { unhandled(error), idle(), exit() }
let loopIsEmpty = false;

/** From now on tells of these; null: of nothing. */
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

/** Whether the function handles exceptions by itself; Node.js makes one of each rejection that nobody handles. */
function handlesExceptions() {
  return process.hasUncaughtExceptionCaptureCallback() || OF_EXCEPTIONS.some((event) => process.listenerCount(event) > 0);
}

Object.defineProperty(process, 'emit', { value: emitAndWatch, configurable: true, writable: true });

module.exports = { watchProcess };
