'use strict';
// Work that goes on after the response: promises passed to waitUntil.

const waiting = new Set();
const failures = [];

/** Keeps the run alive until this promise has settled. */
function waitUntil(promise) {
  const one = Promise.resolve(promise)
    .catch((error) => failures.push(error))
    .finally(() => waiting.delete(one));
  waiting.add(one);
}

function isPending() {
  return waiting.size > 0;
}

/** Resolves to what the promises were rejected with, when all of them, and those added meanwhile, have settled. */
async function settled() {
  while (waiting.size > 0) await Promise.all(waiting);
  return failures.splice(0);
}

module.exports = { isPending, settled, waitUntil };
