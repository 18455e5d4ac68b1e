'use strict';
// Tells `zmesh test` which test is about to run, so that it can end one that hangs in a loop.

const fs = require('node:fs');
const path = require('node:path');

let steps = 0;

/** Writes what this process does now; without a name, between tests, it may take any time. */
function tell(name, file) {
  const { ZMESH_TEST_PROGRESS: place, ZMESH_TEST_TIMEOUT: seconds } = process.env;
  if (!place) return;
  const told = { pid: process.pid, name, file: path.relative('', file), seconds: name ? Number(seconds) : 0, step: steps++ };
  fs.writeFileSync(place, JSON.stringify(told));
}

module.exports = { tell };
