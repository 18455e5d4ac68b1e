'use strict';
// Tells `zmesh test` which test is about to run, so that it can end one that hangs in a loop.

const fs = require('node:fs');
const path = require('node:path');

let steps = 0;

/** Writes what this process does now, and its limit: the longer of the command's and `seconds`; without a name, none. */
function tell(name, file, seconds = 0) {
  const { ZMESH_TEST_PROGRESS: place, ZMESH_TEST_TIMEOUT: limit } = process.env;
  if (!place) return;
  const most = name && Number(limit) ? Math.max(Number(limit), seconds) : 0;
  fs.writeFileSync(place, JSON.stringify({ pid: process.pid, name, file: path.relative('', file), seconds: most, step: steps++ }));
}

module.exports = { tell };
